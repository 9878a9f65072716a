// Command demo shows cctask's main job in under a minute, without an account:
// real Claude Code processes run in parallel against a scripted API on
// loopback, the owner of the database is killed in the middle, the API is overloaded
// for one of them, and everything comes through. It drives the built binary as a person
// would, in a temporary home that it removes.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cctask/internal/testkit/fakeapi"
	"cctask/internal/testkit/realclaude"
)

func main() {
	bin := flag.String("cctask", "bin/cctask", "the built `binary`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// stage is the temporary world that the demo plays in.
type stage struct {
	ctx  context.Context
	bin  string
	work string
	env  []string
}

func run(ctx context.Context, bin string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	claude, err := realclaude.Find()
	if err != nil {
		return fmt.Errorf("%w\nhint: make claude installs it, which needs npm", err)
	}
	api, err := fakeapi.New()
	if err != nil {
		return err
	}
	defer api.Close()
	for _, j := range jobs {
		api.Handle(func(prompt string) bool { return strings.HasPrefix(prompt, j.prompt) }, j.play)
	}
	// What an attempt is told that goes on after another one.
	api.Handle(func(prompt string) bool { return strings.HasPrefix(prompt, "Continue.") }, func(fakeapi.Conversation) fakeapi.Turn {
		return fakeapi.Say("Nothing to lint.")
	})
	home, err := os.MkdirTemp("", "cctask-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	s := &stage{ctx: ctx, bin: bin, work: filepath.Join(home, "project")}
	s.env = append(realclaude.Env(home, api.URL, "IS_SANDBOX=1"),
		"CCTASK_DIR="+filepath.Join(home, "state"), "CCTASK_CLAUDE="+claude, "CCTASK_JOBS=3")
	if err := s.furnish(home); err != nil {
		return err
	}
	// Whatever happens, nothing that the demo started stays.
	defer func() {
		s.ctx = context.Background()
		_, _ = s.capture("daemon", "stop", "--cancel")
	}()
	begin := time.Now()
	for _, act := range []func(*stage) error{startSix, watchOne, killOwner, waitAll, mergeOne, lookBack} {
		if err := act(s); err != nil {
			return err
		}
	}
	say("That was all of it, in %.0f s. Everything was in a temporary home, which is gone now.", time.Since(begin).Seconds())
	return nil
}

// furnish makes the project a git repository, and the pauses before retries short.
func (s *stage) furnish(home string) error {
	config := filepath.Join(home, ".config", "cctask")
	if err := errors.Join(os.Mkdir(s.work, 0o755), os.MkdirAll(config, 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(config, "config.toml"), []byte("[retry]\nbase = \"1s\"\nmax = \"1s\"\n"), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"config", "user.name", "Demo"}, {"config", "user.email", "demo@example.org"}, {"commit", "-q", "--allow-empty", "-m", "Begin"},
	} {
		cmd := exec.CommandContext(s.ctx, "git", args...)
		cmd.Env, cmd.Dir = append([]string{}, s.env...), s.work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// job is a task of the demo and the part that the scripted model plays in it.
type job struct {
	name, prompt, command string
	words                 string // said slowly, word by word
	answer                string
	flags                 []string
	more                  string // of the prompt
	overloaded            bool   // the API has no room for the first attempt
}

var jobs = []job{
	{name: "survey", prompt: "Read this project and say what it does.", command: "ls -la", words: "Reading the sources, one package after the other, to see what is there and how the parts hang together. ", answer: "It is an empty project: there is nothing to survey yet."},
	{name: "tests", prompt: "Run the tests and fix what fails.", command: "echo ok: 3 tests", words: "Running the tests, then looking at each failure in turn, and running them again until they are green. ", answer: "All 3 tests pass."},
	{name: "docs", prompt: "Write a short introduction for newcomers.", words: "Writing an introduction that a newcomer can follow from the first line to the last without a question. ", answer: "The introduction is written."},
	{name: "lint", prompt: "Lint the sources.", overloaded: true},
	{name: "changelog", prompt: "Write the changelog.", more: " The tests say: {{tasks.tests.result}}", flags: []string{"--after", "tests"}, answer: "The changelog has 3 entries."},
	{name: "release", prompt: "Prepare the release.", command: "echo 1.0 > VERSION && git add VERSION && git commit -qm 'Release 1.0'", flags: []string{"--workdir-mode", "worktree"}, answer: "Ready to release."},
}

// play scripts the model: a tool first, if the job has one, then the words.
func (j job) play(c fakeapi.Conversation) fakeapi.Turn {
	if j.overloaded {
		return fakeapi.Refuse(529, "")
	}
	if j.command != "" && c.Turn == 0 {
		return fakeapi.Call(fakeapi.ToolUse{Name: "Bash", Input: map[string]any{"command": j.command}})
	}
	var t fakeapi.Turn
	for _, word := range strings.SplitAfter(j.words, " ") {
		t.Steps = append(t.Steps, fakeapi.Step{Text: word}, fakeapi.Step{Delay: 300 * time.Millisecond})
	}
	t.Steps = append(t.Steps, fakeapi.Step{Text: j.answer})
	return t
}

func startSix(s *stage) error {
	say("Six tasks, at most three Claude Code processes at once (the API is scripted, the CLI is real):")
	for _, j := range jobs {
		args := append([]string{"start", "--name", j.name}, j.flags...)
		fmt.Printf("  $ cctask %s %q\n", strings.Join(args, " "), j.prompt+j.more)
		id, err := s.capture(append(args, j.prompt+j.more)...)
		if err != nil {
			return err
		}
		fmt.Printf("  %s", id)
	}
	return s.show("list")
}

func watchOne(s *stage) error {
	say("Live logs of the first one, for three seconds:")
	ctx, cancel := context.WithTimeout(s.ctx, 3*time.Second)
	defer cancel()
	cmd := s.command(ctx, "logs", "-f", "survey")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	fmt.Println("  $ cctask logs -f survey")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("cctask logs: %w", err)
	}
	return nil
}

func killOwner(s *stage) error {
	out, err := s.capture("daemon", "status", "--json")
	if err != nil {
		return err
	}
	var owner struct {
		PID  int `json:"pid"`
		Live int `json:"live"`
	}
	if err := json.Unmarshal([]byte(out), &owner); err != nil {
		return fmt.Errorf("read daemon status: %w", err)
	}
	say("SIGKILL to the owner of the database, pid %d, while %d tasks run:", owner.PID, owner.Live)
	if err := syscall.Kill(owner.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the owner: %w", err)
	}
	fmt.Printf("  $ kill -9 %d\n", owner.PID)
	fmt.Println("  The tasks go on under their runners; the next command starts a new owner, which adopts them:")
	return s.show("list")
}

func waitAll(s *stage) error {
	say("Waiting for all of them:")
	if err := s.show("wait"); err != nil {
		return err
	}
	if err := s.show("list", "--all"); err != nil {
		return err
	}
	say("The API was overloaded for one of them, which was tried again by itself:")
	return s.show("status", "lint")
}

func mergeOne(s *stage) error {
	say("One worked in a git worktree and on a branch of its own; its change is there to be looked at, and merged:")
	if err := s.show("diff", "release"); err != nil {
		return err
	}
	return s.show("merge", "release")
}

func lookBack(s *stage) error {
	say("Each answer is kept; here is one, and what claude did for it:")
	if err := s.show("logs", "tests"); err != nil {
		return err
	}
	say("The whole database as JSON Lines, every status change and byte of output (one line of each type, shortened):")
	out, err := s.capture("dump")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	fmt.Println("  $ cctask dump")
	for _, line := range lines {
		var l struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return fmt.Errorf("read the dump: %w", err)
		}
		if !seen[l.Type] {
			seen[l.Type] = true
			fmt.Printf("  %.150s...\n", line)
		}
	}
	fmt.Printf("  (%d lines, %d bytes)\n", len(lines), len(out))
	return nil
}

func say(format string, args ...any) { fmt.Printf("\n== "+format+"\n", args...) }

func (s *stage) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Env, cmd.Dir = append([]string{}, s.env...), s.work
	return cmd
}

// show runs a command and lets it print for itself.
func (s *stage) show(args ...string) error {
	fmt.Println("  $ cctask", strings.Join(args, " "))
	cmd := s.command(s.ctx, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cctask %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func (s *stage) capture(args ...string) (string, error) {
	cmd := s.command(s.ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("cctask %s: %w", strings.Join(args, " "), err), errors.New(stderr.String()))
	}
	return string(out), nil
}
