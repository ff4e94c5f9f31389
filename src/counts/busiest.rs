//! The names that are seen most, of however many there are: a fixed number of places, where a name that has none takes that of
//! the one seen least, with its count (Metwally, Agrawal, El Abbadi: "space-saving"). What is counted is never too little.

/// How many names are followed at once.
const PLACES: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Busiest(Vec<(String, u64)>);

impl Busiest {
    pub fn add(&mut self, name: &str, times: u64) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == name) {
            *count = count.saturating_add(times);
        } else if self.0.len() < PLACES {
            self.0.push((name.to_owned(), times));
        } else if let Some((least, count)) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            least.clear();
            least.push_str(name);
            *count = count.saturating_add(times);
        }
    }

    pub fn add_all(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.add(name, *count);
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The first `most` of them, those that are seen most before the others.
    pub fn top(&self, most: usize) -> Vec<(String, u64)> {
        let mut all = self.0.clone();
        all.sort_by(|(name, count), (other, than)| than.cmp(count).then_with(|| name.cmp(other)));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_seen_most_stays_however_many_others_there_are() {
        let mut busiest = Busiest::default();
        for number in 0..10_000 {
            busiest.add("often", 3);
            busiest.add(&format!("once {number}"), 1);
            if number % 4 == 0 {
                busiest.add("now and then", 4);
            }
        }
        let top = busiest.top(2);
        assert_eq!(top.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["often", "now and then"]);
        assert!(top[0].1 >= 30_000 && top[1].1 >= 10_000, "{top:?}");
        assert_eq!(busiest.0.len(), PLACES);
    }

    #[test]
    fn few_are_counted_exactly() {
        let (mut busiest, mut other) = (Busiest::default(), Busiest::default());
        for (name, times) in [("b", 1), ("a", 1), ("c", 5), ("b", 2)] {
            busiest.add(name, times);
        }
        other.add("a", 10);
        busiest.add_all(&other);
        let top = |most| busiest.top(most).into_iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
        assert_eq!(top(9), ["a 11", "c 5", "b 3"]);
        assert_eq!(top(1), ["a 11"]);
        other.clear();
        assert!(other.top(9).is_empty());
    }
}
