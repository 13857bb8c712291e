//! Running other programs: with the repository as working directory, and errors that say which
//! program did what.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// A command that runs in the top folder of the repository.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(crate::root());
    command
}

/// `cargo ARGS`, the same cargo that built this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, args)
}

/// What a person would type to get the same.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, output straight through.
///
/// Errors: the program could not be started, or it ended with anything but 0.
pub(crate) fn check(mut command: Command) -> Result<(), String> {
    let what = shown(&command);
    let status = command.status().map_err(|why| format!("{what}: cannot start: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}")) }
}

/// Runs to the end and returns what it printed on stdout, without the last line break.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    let what = shown(&command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| format!("{what}: cannot start: {why}"))?;
    if !output.status.success() {
        return Err(format!("{what}: {}", output.status));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| format!("{what}: not UTF-8"))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Runs to the end; every line of stdout is passed on as it comes and given to `seen`.
pub(crate) fn stream(mut command: Command, mut seen: impl FnMut(&str)) -> Result<(), String> {
    let what = shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| format!("{what}: cannot start: {why}"))?;
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        // A test may print bytes that are no UTF-8; they are passed on as they are.
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let mut out = std::io::stdout().lock();
            out.write_all(&line).and_then(|()| out.flush()).ok();
            seen(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    let status = child.wait().map_err(|why| format!("{what}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}")) }
}

/// Is there such a program on the search path (or where Debian puts servers)?
pub(crate) fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}
