//! Sets of codes, as filters are told them.

use super::ErrorCode;

/// A set of codes, read from lists such as `H12,R*`. Empty by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeSet(u64);

// One bit for each code.
const _: () = assert!(ErrorCode::ALL.len() <= u64::BITS as usize);

impl CodeSet {
    /// Adds the codes of a list: codes, or the beginnings of some with `*` behind, in whatever case, with commas
    /// between them. `*` stands for every code.
    ///
    /// # Errors
    /// The first item that stands for no code of the catalogue; it may be empty. The set is as it was.
    pub fn add<'a>(&mut self, list: &'a str) -> Result<(), &'a str> {
        let mut added = *self;
        for item in list.split(',') {
            let (name, is_prefix) = item.strip_suffix('*').map_or((item, false), |prefix| (prefix, true));
            let mut found = false;
            for &code in ErrorCode::ALL {
                let known = code.as_str();
                let beginning = if is_prefix { known.get(..name.len()) } else { Some(known) };
                if beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(name)) {
                    added.0 |= 1 << code as u32;
                    found = true;
                }
            }
            if !found {
                return Err(item);
            }
        }
        *self = added;
        Ok(())
    }

    /// Whether `code` is in it.
    pub const fn contains(self, code: ErrorCode) -> bool {
        self.0 & 1 << code as u32 != 0
    }

    /// Whether no code is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn set(lists: &[&str]) -> Vec<&'static str> {
        let mut set = CodeSet::default();
        lists.iter().for_each(|list| set.add(list).unwrap());
        assert_eq!(set.is_empty(), lists.is_empty());
        ErrorCode::ALL.iter().filter(|code| set.contains(**code)).map(|code| code.as_str()).collect()
    }

    #[test]
    fn a_list_names_codes_and_beginnings_of_codes_in_any_case() {
        assert_eq!(set(&[]), [] as [&str; 0]);
        assert_eq!(set(&["H12"]), ["H12"]);
        assert_eq!(set(&["r14,h12,H12"]), ["H12", "R14"]);
        assert_eq!(set(&["h8*"]), ["H80", "H81", "H82", "H83"]);
        assert_eq!(set(&["L1*", "R99*,l10"]), ["R99", "L10", "L11", "L12", "L13", "L14", "L15"]);
        assert_eq!(set(&["r*"]).len(), ErrorCode::ALL.iter().filter(|c| c.as_str().starts_with('R')).count());
        assert_eq!(set(&["*"]).len(), ErrorCode::ALL.len());
    }

    #[test]
    fn what_is_no_code_is_given_back_and_adds_nothing() {
        let mut set = CodeSet::default();
        for (list, unknown) in [
            ("", ""),
            ("H12,", ""),
            ("H12,H29,R14", "H29"),
            ("H12 ,R14", "H12 "),
            ("X*", "X*"),
            ("H1", "H1"),
            ("H*2", "H*2"),
            ("H12**", "H12**"),
            ("H123*", "H123*"),
            ("é*", "é*"),
        ] {
            assert_eq!(set.add(list), Err(unknown), "{list}");
            assert!(set.is_empty(), "{list}");
        }
    }
}
