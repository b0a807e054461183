//! Where a client's process lives: what the sessions that it opens begin with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::config::Config;
use crate::protocol::AttachParams;
use crate::protocol::Role;

/// Variables of an environment.
pub(crate) type Variables = Arc<BTreeMap<String, String>>;

/// The process that a client speaks to.
#[derive(Clone)]
pub(crate) struct Home {
    /// Names its life among all that ever served the store.
    pub(crate) instance: Arc<str>,
    /// Its number.
    pub(crate) pid: u32,
    /// Its working directory: the default of sessions.
    pub(crate) cwd: Arc<str>,
    /// Its environment, which agents of its sessions begin with. It lives in memory only.
    pub(crate) env: Variables,
    /// The agent of sessions that are opened without one.
    pub(crate) default_agent: Option<Arc<str>>,
}

impl Home {
    /// This process.
    pub(crate) fn own(instance: Arc<str>, config: &Config) -> Self {
        let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            instance,
            pid: std::process::id(),
            cwd: cwd.display().to_string().into(),
            env: Arc::new(env),
            default_agent: config.default_agent.clone(),
        }
    }

    /// One that attaches, as it says of itself.
    pub(crate) fn of(attach: &AttachParams) -> Self {
        Self {
            instance: attach.instance_id.as_str().into(),
            pid: attach.pid,
            cwd: attach.cwd.as_str().into(),
            env: Arc::new(attach.env.clone()),
            default_agent: attach.default_agent.as_deref().map(Into::into),
        }
    }

    /// What it is to the store that `owner` holds. Its number tells nothing: in another container it may be ours.
    pub(crate) fn role(&self, owner: &Self) -> Role {
        if self.instance == owner.instance {
            Role::Owner
        } else {
            Role::Attached
        }
    }
}

impl fmt::Debug for Home {
    /// Values of variables are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home")
            .field("instance", &self.instance)
            .field("pid", &self.pid)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}
