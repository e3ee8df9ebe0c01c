//! A terminal of its own for a command: what a user would see.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::wait::wait_for;

/// A command in a tmux of its own. Dropping it ends both.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Runs a shell command in 200 × 50 characters, and shows `exit CODE` when it has ended.
    ///
    /// # Panics
    /// When tmux does not start.
    #[track_caller]
    pub fn start(shell_command: &str, env: &[(&str, &str)]) -> Terminal {
        let terminal = Terminal { folder: TempDir::new().expect("a temporary folder can be made") };
        // The shell survives Ctrl-C to say how the command ended; `read` keeps the screen.
        let script = format!("trap : INT; {shell_command}; echo \"exit $?\"; read -r _");
        let mut command = terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "50"]);
        for name in ["NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.arg(script).envs(env.iter().copied());
        let output = command.output().expect("tmux is installed: `cargo xtask test` sees to it");
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        terminal
    }

    /// The characters on the screen, without the blanks behind each line.
    pub fn screen(&self) -> String {
        self.capture(&["capture-pane", "-p"])
    }

    /// As [`Terminal::screen`], with the sequences that set colours.
    pub fn coloured(&self) -> String {
        self.capture(&["capture-pane", "-p", "-e"])
    }

    /// Whether the cursor is shown.
    pub fn has_cursor(&self) -> bool {
        self.capture(&["display-message", "-p", "#{cursor_flag}"]).trim() == "1"
    }

    /// Waits until the screen holds `text`, and returns it.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_screen(&self, text: &str) -> String {
        wait_for(&format!("{text:?} on the screen"), || {
            Some(self.screen()).filter(|seen| seen.contains(text))
        })
    }

    /// Presses a key, in tmux's words: `C-c`.
    ///
    /// # Panics
    /// When tmux is gone.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.capture(&["send-keys", key]);
    }

    #[track_caller]
    fn capture(&self, args: &[&str]) -> String {
        let output = self.tmux(args).output().expect("tmux runs");
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.socket()).args(args).env_remove("TMUX");
        command
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]).output().ok();
    }
}
