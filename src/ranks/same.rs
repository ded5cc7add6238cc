//! What must be the same in all ranks of a job, and who differs.

use super::{Ranks, RanksError};

impl Ranks {
    /// Checks that all processes have what rank 0 has. `own` are pairs of what it is and its value
    /// in words, such as a digest.
    ///
    /// # Errors
    /// Returns an error that names the first difference, or if a process doesn't answer.
    pub fn check_same(&self, own: &[(&str, String)]) -> Result<(), RanksError> {
        if !self.are_several() {
            return Ok(());
        }
        let values: Vec<&str> = own.iter().map(|(_, value)| value.as_str()).collect();
        let all = self.gather(values.join("\0").as_bytes())?;
        let all: Vec<String> = all
            .into_iter()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect();
        for (index, (what, _)) in own.iter().enumerate() {
            let value = |rank: usize| all[rank].split('\0').nth(index).unwrap_or_default();
            if let Some(rank) = (1..self.count()).find(|rank| value(*rank) != value(0)) {
                return Err(self.differs(rank, what, [value(rank), value(0)]));
            }
        }
        Ok(())
    }

    /// Checks that all processes have the lines of rank 0, such as those of a list of images.
    ///
    /// # Errors
    /// Returns an error with the first line that differs, or if a process doesn't answer.
    pub fn check_same_lines(&self, what: &str, own: &str) -> Result<(), RanksError> {
        if !self.are_several() {
            return Ok(());
        }
        let first = self.tell(own.as_bytes().to_vec())?;
        let first = String::from_utf8_lossy(&first);
        let (mut own, mut first) = (own.lines(), first.lines());
        let difference = loop {
            match (own.next(), first.next()) {
                (None, None) => break String::new(),
                (own, first) if own == first => {}
                (own, first) => {
                    let [own, first] = [own, first].map(|line| line.unwrap_or("nothing more"));
                    break format!("{own}\n{first}");
                }
            }
        };
        let all = self.gather(difference.as_bytes())?;
        let Some(rank) = all.iter().position(|difference| !difference.is_empty()) else {
            return Ok(());
        };
        let difference = String::from_utf8_lossy(&all[rank]);
        let (found, expected) = difference.split_once('\n').unwrap_or_default();
        Err(self.differs(rank, what, [found, expected]))
    }

    fn differs(&self, rank: usize, what: &str, [found, expected]: [&str; 2]) -> RanksError {
        RanksError::Differs {
            rank,
            host: self.host(rank).to_owned(),
            what: what.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ranks::threads;

    #[test]
    fn a_rank_that_differs_is_named() {
        let found = threads::run(3, |ranks| {
            let images = ["x", "x", "y"][ranks.rank()].to_owned();
            let own = [("version", "1".to_owned()), ("images", images)];
            ranks.check_same(&own).map_err(|error| error.to_string())
        });
        let message = "rank 2 on host localhost has images that rank 0 doesn't have: found y, \
                       expected x; a job needs the same images on each host";
        assert_eq!(found, vec![Err(message.to_owned()); 3]);
        let found = threads::run(3, |ranks| {
            let own = ["a,1\nb,2\n", "a,1\nb,2\n", "a,1\nc,2\nd"][ranks.rank()];
            let found = ranks.check_same_lines("images", own);
            found.map_err(|error| error.to_string())
        });
        let message = "rank 2 on host localhost has images that rank 0 doesn't have: found c,2, \
                       expected b,2; a job needs the same images on each host";
        assert_eq!(found, vec![Err(message.to_owned()); 3]);
        assert!(
            threads::run(2, |ranks| ranks
                .check_same(&[("a", "b".to_owned())])
                .is_ok())
            .into_iter()
            .all(|same| same)
        );
    }
}
