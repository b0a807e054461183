//! Random scripts for all three shells: every word of them ends by itself, and what it writes does not depend on time.
//!
//! # What is kept out, since a shell that a person talks to differs there
//!
//! - The text in front of a complaint (`bash: x: command not found` for `FILE: line 3: x: command not found`): complaints go to a file,
//!   and what stands before the last colon is cut off.
//! - `$0`, `$$`, `$-` and `$_`, and what the options `i` and `m` are for: jobs with `&`, whose coming and going is told.
//! - A child of zsh that a signal ends, outside a subshell: its end is told on the terminal (`zsh: killed …`).
//! - Reading what nobody types: every `read` has its input.
//! - `trap … EXIT` outside a subshell: it belongs to the shell's end, not to the run's.

use proptest::prelude::*;

/// A script of calm statements: none of them ends the script.
pub fn calm() -> BoxedStrategy<String> {
    statements(3).boxed()
}

/// How a script ends.
#[derive(Clone, Debug)]
pub enum Last {
    /// With its last statement.
    Plain,
    /// With `exit`.
    Exit(u8),
    /// With `return`, outside any function.
    Return(u8),
    /// With what ends a script by the way.
    Fatal(&'static str),
}

/// The ends of scripts of a shell.
pub fn last(fatal: Vec<&'static str>) -> impl Strategy<Value = Last> {
    prop_oneof![
        3 => Just(Last::Plain),
        2 => any::<u8>().prop_map(Last::Exit),
        2 => any::<u8>().prop_map(Last::Return),
        3 => proptest::sample::select(fatal).prop_map(Last::Fatal),
    ]
}

/// What ends a script in some shells, or in all.
pub const FATAL: &[&str] = &[
    "set -e\nfalse\necho not here",
    "set -e\n( exit 9 )\necho not here",
    "set -e\nif false; then :; fi\nfalse || true\n! true\necho here; sh -c 'exit 4'; echo not here",
    "set -e; f() { false; echo in f; }; f || echo no; f; echo not here",
    "set -e; x=$(echo a; false); echo not here",
    "{ shift 99; echo \"shifted $?\"; } 2>/dev/null\necho \"after $?\"",
    "{ . ./no-such-file; echo \"sourced $?\"; } 2>/dev/null\necho \"after $?\"",
    "{ : <no-such-file; echo \"read $?\"; } 2>/dev/null\necho \"after $?\"",
    "{ eval 'echo )'; echo \"evaluated $?\"; } 2>/dev/null\necho \"after $?\"",
    "f() { exit 7; }\nf\necho not here",
    "eval 'exit 8'\necho not here",
    "while :; do { exit 5; }; done; echo not here",
    "exec sh -c 'echo instead; exit 6'",
    "exec 3>kept\necho kept >&3\nexec 3>&-\ncat kept\nfalse",
];

/// What has no value, with nothing in its place.
pub const UNSET: &[&str] = &[
    "{ set -u; echo \"$nosuch\"; echo not here; } 2>/dev/null\necho nor here",
    "{ echo \"${nosuch:?gone}\"; echo not here; } 2>/dev/null\necho nor here",
];

/// Other mistakes that end a script of zsh.
pub const MISTAKES: &[&str] = &[
    "{ echo $((1 / 0)); echo \"divided $?\"; } 2>/dev/null\necho \"after $?\"",
    "{ readonly ro=1; ro=2; echo \"assigned $?\"; } 2>/dev/null\necho \"after $?\"",
    "{ echo nothing-*; } 2>/dev/null\necho \"after $?\"",
];

fn statements(depth: u32) -> BoxedStrategy<String> {
    let most = if depth == 3 { 7 } else { 3 };
    proptest::collection::vec(statement(depth), 1..most)
        .prop_map(|all| all.join("\n"))
        .boxed()
}

fn statement(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return simple().boxed();
    }
    let body = statements(depth - 1);
    prop_oneof![
        3 => simple(),
        2 => compound(&body),
        1 => nested(&body),
        1 => joined(&body),
    ]
    .boxed()
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["a", "b", "c", "word", "A_1"][..])
}

fn file() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["f1", "f2", "./f3", "'f 4'"][..])
}

/// Text that stands in a script as one word, quoted in some way.
fn word() -> BoxedStrategy<String> {
    prop_oneof![
        4 => "[a-z0-9_.,:/+@%^-]{1,6}",
        2 => "[ -&(-~\t\n\u{e4}\u{20ac}\u{1f600}]{0,12}".prop_map(|text| format!("'{text}'")),
        2 => "[ !#%-\\[\\]^_a-{}|~\n\u{e4}-]{0,12}"
            .prop_map(|text| format!("\"{}\"", text.replace(['$', '"'], ""))),
        1 => "[ $\"'\\\\`*?!#&|;<>(){}a-c~\\[\\]]".prop_map(|text| format!("\\{text}")),
        1 => "[ a-c]{0,3}".prop_map(|text| format!("\"\\\"{text}\\$\\\\\\`x\"'\"'")),
        6 => expansion(),
        1 => Just("a\\\nb".to_owned()),
        1 => proptest::sample::select(&["~", "*", "?", "f*", "[f]1", "{a,b}", "a{1..3}"][..])
            .prop_map(|glob| format!("\"{glob}\"")),
    ]
    .boxed()
}

fn expansion() -> BoxedStrategy<String> {
    prop_oneof![
        name().prop_map(|name| format!("\"${name}\"")),
        name().prop_map(|name| format!("\"<${{{name}:-none}}>\"")),
        name().prop_map(|name| format!("${{{name}-none}}")),
        name().prop_map(|name| format!("\"${{{name}#?}}${{{name}%%b*}}${{#{name}}}\"")),
        proptest::sample::select(
            &[
                "\"$?\"",
                "$?",
                "\"$#\"",
                "\"$*\"",
                "\"$@\"",
                "$*",
                "\"${2-}\"",
                "\"${PWD##*/}\"",
                "\"$LINENO\"",
                "\"$OPTIND\"",
            ][..]
        )
        .prop_map(str::to_owned),
        arithmetic().prop_map(|sum| format!("$(({sum}))")),
        arithmetic().prop_map(|sum| format!("\"$(( {sum} ))\"")),
        plain_word().prop_map(|text| format!("\"$(echo {text}; echo)\"")),
        plain_word().prop_map(|text| format!("`echo \\\"{text}\\\"`")),
        plain_word().prop_map(|text| format!("\"$(printf '%s\\n' \"$(echo \"{text}\")\" )\"")),
    ]
    .boxed()
}

fn plain_word() -> BoxedStrategy<String> {
    "[a-z]{1,4}".boxed()
}

fn arithmetic() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (0..1000u32).prop_map(|number| number.to_string()),
        Just("${#a}".to_owned()),
        Just("n".to_owned()),
        Just("$#".to_owned()),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        let operator = proptest::sample::select(
            &[
                "+", "-", "*", "<<1+", "&", "|", "^", "<", "==", "&&", "||", ">=", "!=",
            ][..],
        );
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(test, yes, no)| format!("({test} ? {yes} : {no})")),
            inner.clone().prop_map(|of| format!("-({of})")),
            (1..9u32, inner).prop_map(|(by, of)| format!("({of} % {by})")),
        ]
    })
    .boxed()
}

/// Bytes of any kind, as `printf` writes them.
fn bytes() -> BoxedStrategy<String> {
    let piece = prop_oneof![
        3 => any::<u8>().prop_map(|byte| format!("\\{byte:03o}")),
        2 => "[a-z \u{20ac}]{1,5}",
        1 => proptest::sample::select(&[
            "\\377", "\\0", "\\033", "\\033]7717;", "\\033]7717;0123456789abcdef0123456789abcdef;1;end;0\\007",
            "\\033]77", "]7717;", "\\033[31m", "\\033[0m", "\\r", "\\n", "\\t", "\\b", "\\a", "\\033\\033]7", "\\001\\003\\004",
        ][..]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 1..8)
        .prop_map(|pieces| pieces.concat())
        .boxed()
}

fn simple() -> BoxedStrategy<String> {
    prop_oneof![
        6 => (name(), word()).prop_map(|(name, word)| format!("{name}={word}")),
        8 => proptest::collection::vec(word(), 0..4)
            .prop_map(|words| format!("echo {}", words.join(" "))),
        4 => proptest::collection::vec(word(), 1..4)
            .prop_map(|words| format!("printf '<%s>\\n' {}", words.join(" "))),
        3 => bytes().prop_map(|bytes| format!("printf '{bytes}'")),
        2 => (word(), file()).prop_map(|(word, file)| format!("echo {word} >{file}")),
        2 => (word(), file()).prop_map(|(word, file)| format!("printf %s {word} >>{file}")),
        2 => file().prop_map(|file| format!("cat {file} 2>/dev/null")),
        2 => file().prop_map(|file| format!("{{ cat <{file}; }} 2>/dev/null")),
        1 => word().prop_map(|word| format!("echo {word} >&2")),
        1 => proptest::collection::vec(word(), 0..4)
            .prop_map(|words| format!("set -- {}", words.join(" "))),
        4 => here(),
        8 => proptest::sample::select(FIXED).prop_map(str::to_owned),
    ]
    .boxed()
}

/// Statements without anything random.
const FIXED: &[&str] = &[
    "eval \"echo a; echo 'b c' $((1 + 1))\" '; echo d'",
    ":",
    "true",
    "false",
    "! true",
    "! false",
    "# a comment, it's ignored\n:",
    "echo a # comment",
    "n=$((n + 1))",
    "unset a b",
    "export b",
    "export word=exported; sh -c 'echo \"$word\"'",
    "[ -t 0 ] && [ -t 1 ] && [ -t 2 ]",
    "no-such-command 2>err; echo $?; sed 's/.*: //' err",
    "./f1 2>/dev/null; echo $?",
    "/ 2>/dev/null",
    "ls no-such-file 2>/dev/null",
    "sh -c 'exit 3'",
    "test -n \"$a\"",
    "[ \"$a\" = \"$b\" ]",
    "[ 1 -lt 2 ]",
    "mkdir -p d && cd d && echo \"${PWD##*/}\"",
    "cd - >/dev/null",
    "cd no-such-dir 2>/dev/null",
    "(cd / && pwd)",
    "cd .",
    "set -o noglob; echo *; set +o noglob",
    "touch g; echo *",
    "set -u; echo \"${a-}\"; set +u",
    "umask",
    "IFS=:; set -- $word; unset IFS; echo $#",
    "set -- a 'b c' ''; echo $#; shift; echo \"$1\"",
    "for w in \"$@\"; do echo \"$w\"; done",
    "[ $# -gt 0 ] && shift",
    "while [ $# -gt 0 ]; do printf '%s;' \"$1\"; shift; done",
    "echo 'x y  z' | { read -r a b; echo \"$b/$a\"; }",
    "printf 'no end' | { read -r a || echo \"$? $a\"; }",
    "printf 'a\\\\b c\\n' | { read a; echo \"$a\"; }",
    "echo one two | read a b; echo \"$a\"",
    "false | true",
    "true | false",
    "{ yes | head -n 1; } 2>&1",
    "seq 200 | tail -n 2",
    "seq 5 | while read -r i; do echo \"<$i>\"; done",
    "while :; do break; done",
    "for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done",
    "( trap 'echo bye' EXIT; echo hello )",
    "( trap 'echo bye $?' EXIT; exit 3 )",
    "x=$(trap 'echo bye' EXIT; echo hello); echo \"$x\"",
    "( set -e; false; echo no )",
    "( set -e; false || true; echo yes )",
    "( exit 42 )",
    "(:; exit)",
    "( f() { return 5; }; f )",
    "( trap 'echo usr1' USR1; sh -c 'kill -USR1 $PPID'; echo next ) | cat",
    "( sh -c 'kill -9 $$'; echo $? ) 2>/dev/null",
    "( set -x; : traced ) 2>&1 | sed 's/^.*: /: /'",
    "sleep 0.01",
    "( sleep 0.01; echo late ) | cat",
    "f1() { echo in f1 \"$@\" $#; return 4; }",
    "command -v f1 >/dev/null && f1 x",
    "type f1 >/dev/null 2>&1",
    "unset -f f1 2>/dev/null",
    "getopts ab: o -a -b x 2>/dev/null; echo $o",
    "alias zz='echo zz'; unalias zz",
    "command echo command",
    "times >/dev/null",
    "exec 4>&1; echo four >&4; exec 4>&-",
    "x=1 sh -c 'echo $x'",
    "wait",
    "hash -r",
    "set -o >/dev/null",
    "trap",
    "printf '%d %x %c\\n' 17 255 abc",
    "echo \\\n  continued \\\n  line",
    "{ echo a; echo b >&2; } 2>&1 | sort",
    "echo \"tab\tand  spaces\"",
    "stty -echo; stty echo",
    "stty -a | wc -c",
];

/// Here-documents, as they are and expanded, in a loop and in a function.
fn here() -> BoxedStrategy<String> {
    let text = prop_oneof![
        // No line of it ends the document.
        "[ -@CDF-~\t\n]{0,30}",
        Just("$a $((1+1)) $(echo b) `echo c` \\$d \\\n end \"quoted\" 'too'".to_owned()),
        Just("  line 1\n\tline 2\n# 3\n".to_owned()),
    ];
    (text, 0..6usize).prop_map(|(text, form)| {
        let inert = text.replace(['$', '`', '\\'], "_");
        let tabbed = text.replace('\n', "\n\t\t");
        match form {
            0 => format!("cat <<'EOF'\n{text}\nEOF"),
            1 => format!("cat <<-\"EOF\"\n\t{tabbed}\n\tEOF"),
            2 => format!("cat <<EOF\n{inert}$a ${{b:-x}} $((1+1)) $(echo b; echo c) `echo d` \\$e \\\\ \\\n.\nEOF"),
            3 => format!("while read -r l; do echo \"[$l]\"; done <<EOF\n{inert}\nEOF"),
            4 => format!("read -r a b <<EOF\n{inert}\nEOF\necho \"$b|$a\""),
            _ => format!("cat <<A; cat <<-'B' | tr a-z A-Z\n{inert}\nA\n\t{tabbed}\nB"),
        }
    }).boxed()
}

fn compound(body: &BoxedStrategy<String>) -> BoxedStrategy<String> {
    let body = || body.clone();
    prop_oneof![
        (condition(), body(), body())
            .prop_map(|(test, yes, no)| format!("if {test}; then\n{yes}\nelse\n{no}\nfi")),
        (condition(), body())
            .prop_map(|(test, yes)| format!("if {test}\nthen {yes}\nfi")),
        (0..4u8, body()).prop_map(|(times, body)| {
            format!("i{times}=0; while [ $i{times} -lt {times} ]; do\ni{times}=$((i{times} + 1))\n{body}\ndone")
        }),
        (0..3u8, body()).prop_map(|(times, body)| {
            format!("u{times}={times}; until [ $u{times} -le 0 ]; do u{times}=$((u{times} - 1))\n{body}\ndone")
        }),
        (proptest::collection::vec(word(), 0..4), body())
            .prop_map(|(words, body)| format!("for w in {}; do\n{body}\ndone", words.join(" "))),
        (word(), body(), body()).prop_map(|(word, one, two)| {
            format!("case {word} in\n[a-f]*|'') {one}\n;;\n(*\\\"*) echo quote;;\n*)\n{two}\n;; esac")
        }),
        (body(), 0..=255u8, word()).prop_map(|(body, code, word)| {
            format!("fun() {{\nlocal a; a=1\n{body}\nreturn {code}\n}}\nfun {word} x; echo \"$?\"")
        }),
        body().prop_map(|body| format!("fun() (\n{body}\n)\nfun a; {{ b=$(fun); }} 2>/dev/null")),
    ].boxed()
}

fn condition() -> BoxedStrategy<String> {
    prop_oneof![
        proptest::sample::select(
            &[
                "true",
                "false",
                "[ \"$a\" ]",
                "! :",
                "test 1 -gt 2 || true",
                "f1 2>/dev/null"
            ][..]
        )
        .prop_map(str::to_owned),
        (word(), word()).prop_map(|(one, two)| format!("[ x{one} = x{two} ] 2>/dev/null")),
    ]
    .boxed()
}

fn nested(body: &BoxedStrategy<String>) -> BoxedStrategy<String> {
    let body = || body.clone();
    prop_oneof![
        body().prop_map(|body| format!("(\n{body}\n)")),
        body().prop_map(|body| format!("{{\n{body}\n}}")),
        (body(), file())
            .prop_map(|(body, file)| format!("{{\n{body}\n}} >{file} 2>&1; cat {file}")),
        (body(), name())
            .prop_map(|(body, name)| format!("{{ {name}=$(\n{body}\n); }} 2>/dev/null")),
        body().prop_map(|body| format!("{{ echo \"$(\n{body}\n)\"; }} 2>/dev/null")),
        body().prop_map(|body| format!("eval {}", quoted(&body))),
        (body(), 0..=255u8).prop_map(|(body, code)| format!("(\n{body}\nexit {code}\n)")),
        (body(), word())
            .prop_map(|(body, word)| format!("( trap 'echo bye' EXIT\n{body}\n: {word}\n)")),
    ]
    .boxed()
}

fn joined(body: &BoxedStrategy<String>) -> BoxedStrategy<String> {
    let body = || body.clone();
    let filter = proptest::sample::select(
        &[
            "cat",
            "sort",
            "wc -c",
            "tr a-z A-Z",
            "sed -n '$p'",
            "tail -n 2",
            "while read -r l; do printf '(%s)' \"$l\"; done",
            "od -c",
            "{ x=$(cat); echo \"${#x}\"; } 2>/dev/null",
        ][..],
    );
    prop_oneof![
        (body(), body()).prop_map(|(one, two)| format!("{{\n{one}\n}} && {{\n{two}\n}}")),
        (body(), body()).prop_map(|(one, two)| format!("{{\n{one}\n}} || {{\n{two}\n}}")),
        body().prop_map(|body| format!("! {{\n{body}\n}}")),
        (body(), filter).prop_map(|(body, filter)| format!("{{\n{body}\n}} 2>&1 | {filter}")),
    ]
    .boxed()
}

/// A text as one word of any shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
