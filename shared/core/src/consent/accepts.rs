//! Which states the drops of an inbox may have.

use super::record::ConsentState;

/// A set of states. By default, it has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States([bool; ConsentState::ALL.len()]);

impl Default for States {
    fn default() -> States {
        States([true; ConsentState::ALL.len()])
    }
}

impl FromIterator<ConsentState> for States {
    fn from_iter<T: IntoIterator<Item = ConsentState>>(states: T) -> States {
        let listed: Vec<ConsentState> = states.into_iter().collect();
        States(ConsentState::ALL.map(|state| listed.contains(&state)))
    }
}

impl States {
    pub fn has(self, state: ConsentState) -> bool {
        ConsentState::ALL.into_iter().zip(self.0).any(|(known, has)| known == state && has)
    }
}

/// The states that the drops of an inbox may have, by a prefix of their keys within the inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepts(Vec<(String, States)>);

impl Accepts {
    pub fn new(by_prefix: Vec<(String, States)>) -> Accepts {
        Accepts(by_prefix)
    }

    /// Returns the states that a drop may have: those of the longest listed prefix that its key starts with. If there
    /// is none, the drop may have all states.
    pub fn of(&self, key: &str) -> States {
        let matching = self.0.iter().filter(|(prefix, _)| key.starts_with(prefix));
        matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, states)| *states).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConsentState::{OptedIn, OptedOut, Withdrawn};

    #[test]
    fn longest_prefix_decides() {
        let accepts = Accepts::new(vec![
            (String::new(), [OptedOut, Withdrawn].into_iter().collect()),
            ("app/".into(), States::default()),
            ("app/partner/".into(), [Withdrawn].into_iter().collect()),
        ]);
        let of = |key: &str| ConsentState::ALL.map(|state| accepts.of(key).has(state));
        assert_eq!(of("a.csv"), [false, true, true]);
        assert_eq!(of("app/a.csv"), [true, true, true]);
        assert_eq!(of("app/partner/a.csv"), [false, false, true]);
        assert_eq!(Accepts::default().of("a.csv"), States::default());
        assert!(States::default().has(OptedIn));
    }
}
