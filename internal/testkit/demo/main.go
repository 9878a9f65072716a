// Command demo shows cctask's main job in under a minute, without an account:
// real Claude Code processes run in parallel against a scripted API on
// loopback, the owner of the database is killed in the middle, and everything
// comes through. It drives the built binary as a person would, in a temporary
// home that it removes.
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
		api.Handle(func(prompt string) bool { return prompt == j.prompt }, j.play)
	}
	home, err := os.MkdirTemp("", "cctask-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	s := &stage{ctx: ctx, bin: bin, work: filepath.Join(home, "project")}
	if err := os.Mkdir(s.work, 0o755); err != nil {
		return err
	}
	s.env = append(realclaude.Env(home, api.URL, "IS_SANDBOX=1"),
		"CCTASK_DIR="+filepath.Join(home, "state"), "CCTASK_CLAUDE="+claude, "CCTASK_JOBS=3")
	// Whatever happens, nothing that the demo started stays.
	defer func() {
		s.ctx = context.Background()
		_, _ = s.capture("daemon", "stop", "--cancel")
	}()
	begin := time.Now()
	for _, act := range []func(*stage) error{startSix, watchOne, killOwner, waitAll, lookBack} {
		if err := act(s); err != nil {
			return err
		}
	}
	say("That was all of it, in %.0f s. Everything was in a temporary home, which is gone now.", time.Since(begin).Seconds())
	return nil
}

// job is a task of the demo and the part that the scripted model plays in it.
type job struct {
	name, prompt, command string
	words                 string // said slowly, word by word
	answer                string
}

var jobs = []job{
	{"survey", "Read this project and say what it does.", "ls -la", "Reading the sources, one package after the other, to see what is there and how the parts hang together. ", "It is an empty project: there is nothing to survey yet."},
	{"tests", "Run the tests and fix what fails.", "echo ok: 3 tests", "Running the tests, then looking at each failure in turn, and running them again until they are green. ", "All 3 tests pass."},
	{"docs", "Write a short introduction for newcomers.", "", "Writing an introduction that a newcomer can follow from the first line to the last without a question. ", "The introduction is written."},
	{"lint", "Lint the sources.", "echo clean", "", "Nothing to lint."},
	{"changelog", "Write the changelog of this week.", "", "", "The changelog has 3 entries."},
	{"release", "Prepare the release.", "date -u +%Y", "", "Ready to release."},
}

// play scripts the model: a tool first, if the job has one, then the words.
func (j job) play(c fakeapi.Conversation) fakeapi.Turn {
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
		fmt.Printf("  $ cctask start --name %s %q\n", j.name, j.prompt)
		id, err := s.capture("start", "--name", j.name, j.prompt)
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
	return s.show("list", "--all")
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
