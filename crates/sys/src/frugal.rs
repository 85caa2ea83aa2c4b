//! Giving memory back: for small long-lived processes, after a burst of work.

use std::io;

/// The addresses of this program's code and constants, as `/proc/self/maps` tells them (proc(5)). None in a program
/// where they cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(Vec<(usize, usize)>);

/// The code, and what lies at the beginning of the file: headers and constants, which are never written. Relocated data,
/// which is protected after it was written, lies further on.
fn find(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights), Some(offset)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let plain = rights == "r-xp" || (rights == "r--p" && offset.bytes().all(|b| b == b'0'));
        if !plain || fields.nth(2) != Some(program) {
            continue;
        }
        let bounds = range.split_once('-').map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)));
        if let Some((Ok(start), Ok(end))) = bounds {
            found.push((start, end));
        }
    }
    found
}

impl Code {
    /// Finds the code of this program.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn find() -> io::Result<Self> {
        let program = std::fs::read_link("/proc/self/exe")?;
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        Ok(Self(program.to_str().map(|program| find(&maps, program)).unwrap_or_default()))
    }

    /// Gives back the free part of the heap, and the pages of code that this process has touched: they stay in the
    /// page cache, and the few that it needs from now on come back by themselves.
    pub fn release(&self) {
        #[cfg(target_env = "gnu")]
        // SAFETY: malloc_trim only touches the allocator's own free lists.
        unsafe {
            libc::malloc_trim(0);
        }
        for &(start, end) in &self.0 {
            // SAFETY: the range is a private mapping of this program's file without the right to write. It has no
            // pages of its own (a debugger's breakpoints aside), so that dropping them loses nothing: the next touch
            // maps the file's again.
            unsafe {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_where_it_is_plain() {
        let maps = "1000-2000 r--p 00000000 00:01 7 /bin/x\n2000-5000 r-xp 00001000 00:01 7 /bin/x\n\
            5000-6000 r--p 00004000 00:01 7 /bin/x\n7000-8000 r-xp 00000000 00:01 8 /lib/y\n9000-a000 r--p 0 0:0 0\n";
        assert_eq!(find(maps, "/bin/x"), [(0x1000, 0x2000), (0x2000, 0x5000)]);
        assert_eq!(find(maps, "/bin/z"), []);
    }

    #[test]
    fn a_program_goes_on_without_its_pages() {
        let code = Code::find().unwrap();
        for _ in 0..3 {
            code.release();
            assert_eq!(format!("{:?}", [1, 2]), "[1, 2]");
        }
    }
}
