//! How much is done: a little at each change, everything on request.

/// Set to `all`, every point is tried and the power is cut fifty times.
const MUCH: &str = "TURNLANE_FAULTS";

/// The most points of a story that even the long version tries.
const MOST: usize = 120;

/// Whether the long version was asked for.
pub fn all() -> bool {
    std::env::var(MUCH).is_ok_and(|much| much == "all")
}

/// `few` in the short version, `many` in the long one.
pub fn times(few: usize, many: usize) -> usize {
    if all() { many } else { few }
}

/// So many of them in the short version, the first, the last and others at equal distances; all in the long one.
pub fn spread<T>(mut points: Vec<T>, few: usize) -> Vec<T> {
    let count = times(few, MOST);
    let total = points.len();
    if count >= total {
        return points;
    }
    let chosen: Vec<usize> = (0..count)
        .map(|number| number * (total - 1) / (count - 1))
        .collect();
    let mut index = 0;
    points.retain(|_| {
        index += 1;
        chosen.contains(&(index - 1))
    });
    points
}
