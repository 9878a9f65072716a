package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"cctask/internal/testkit/fakeapi"
	"cctask/internal/testkit/realclaude"
)

const (
	calls = 500 // of a status call in a round
	tasks = 200 // of a batch in a round
)

func rows() []row {
	return []row{
		{name: "`cctask version`", against: "an empty mcp-go server, start to first answer", unit: "ms CPU", most: true, bound: 1.15, round: versionRound},
		{name: "`cctask mcp`, start to first answer, owner running", against: "an empty mcp-go server", unit: "ms", most: true, bound: 1.3, round: startRound},
		{name: "check_task_status of a finished task, p50", against: "the empty server's no-op tool", unit: "us", most: true, bound: 1.7, round: statusRound},
		{name: "the same, CPU of front and owner", against: "the empty server's CPU", unit: "us", most: true, bound: 3, round: statusCPURound},
		{name: "a status call behind 1,000 waits", against: "itself, unloaded", unit: "us", most: true, bound: 3, round: waitsRound},
		{name: "whole tasks a second, stub, pool of 8", against: "task-spooler", unit: "/s", bound: 1.6, round: tasksRound},
		{name: "CPU a task: runner and stub", unit: "ms", most: true, bound: 8, round: func(b *bench) (float64, float64, error) { return taskCPU(b, false) }},
		{name: "CPU a task: owner", unit: "ms", most: true, bound: 3.5, round: func(b *bench) (float64, float64, error) { return taskCPU(b, true) }},
		{name: "a page of 100 behind 20,000 queued tasks", against: "behind 20", unit: "us", most: true, bound: 2, round: queueRound(20, tool("list_active_tasks", fmt.Sprintf(`{"limit":%d,"include_finished":true}`, page)))},
		{name: "a submission behind 20,000 queued tasks", against: "behind 20", unit: "us", most: true, bound: 2, round: queueRound(10, tool("start_cc_task_async", `{"prompt":"A trivial task."}`))},
		{name: "starts accepted and durable, 64 in flight from 8 fronts", against: "bare bbolt, commits of groups of the same pairs", unit: "/s", bound: 0.4, round: durableRound},
		{name: "private memory of a runner, claude alive", unit: "MB", most: true, bound: 3, round: memoryRound},
		{name: "`cctask run` of the stub", unit: "ms", most: true, bound: 45, round: runStubRound},
		{name: "`cctask run` of a real claude, wall", against: "the same command by hand", unit: "ms", most: true, bound: 1.05, round: realRound(false)},
		{name: "`cctask run` of a real claude, CPU", against: "the same command by hand", unit: "ms", most: true, bound: 1.06, round: realRound(true)},
		{name: "`cctask run` of a claude that prints 128 MiB, pipe to database", against: "bare bbolt, a commit for each 256 KiB", unit: "MB/s", rounds: 3, round: sealRound(func(s sealed) (float64, float64) { return s.mbs, s.raw })},
		{name: "size of the database a byte of output", unit: "", most: true, bound: 0.35, rounds: 1, round: sealRound(func(s sealed) (float64, float64) { return s.size, 0 })},
		{name: "bytes written a byte of output", unit: "", most: true, bound: 2.3, rounds: 1, round: sealRound(func(s sealed) (float64, float64) { return s.written, 0 })},
		{name: "`cctask dump` of 100,000 small tasks", against: "a loop that decodes and encodes the lines", unit: "s", most: true, bound: 1.2, rounds: 3, round: dumpRound},
		{name: "`cctask restore` of them", against: "the same loop", unit: "s", most: true, bound: 2, rounds: 3, round: restoreRound},
	}
}

// versionRound compares CPU: of `version`, and of the empty server up to its end.
func versionRound(b *bench) (ours, theirs float64, err error) {
	v := b.command(b.cctask, "version")
	if err := v.Run(); err != nil {
		return 0, 0, err
	}
	c, _, err := b.serve(b.empty)
	if err != nil {
		return 0, 0, err
	}
	c.close()
	ms := func(user, sys time.Duration) float64 { return float64((user + sys).Microseconds()) / 1000 }
	return ms(v.ProcessState.UserTime(), v.ProcessState.SystemTime()), ms(c.cmd.ProcessState.UserTime(), c.cmd.ProcessState.SystemTime()), nil
}

// pair starts both servers, with the owner running.
func (b *bench) pair() (ours, theirs *client, first [2]float64, err error) {
	if _, err = b.owner(); err != nil {
		return nil, nil, first, err
	}
	ours, a, err := b.serve(b.cctask, "mcp")
	if err != nil {
		return nil, nil, first, err
	}
	theirs, z, err := b.serve(b.empty)
	return ours, theirs, [2]float64{float64(a.Microseconds()) / 1000, float64(z.Microseconds()) / 1000}, err
}

func startRound(b *bench) (float64, float64, error) {
	ours, theirs, first, err := b.pair()
	if err != nil {
		return 0, 0, err
	}
	ours.close()
	theirs.close()
	return first[0], first[1], nil
}

func statusRound(b *bench) (o, t float64, err error) {
	err = b.withStatus(func(ours, theirs *client, id string) error {
		if o, err = ours.each(calls, status(id)); err == nil {
			t, err = theirs.each(calls, tool("noop", "{}"))
		}
		return err
	})
	return o, t, err
}

// withStatus has both servers up and warm, and a finished task to ask for.
func (b *bench) withStatus(f func(ours, theirs *client, id string) error) error {
	ours, theirs, _, err := b.pair()
	if err != nil {
		return err
	}
	defer ours.close()
	defer theirs.close()
	id, err := b.finished()
	if err != nil {
		return err
	}
	if _, err := ours.each(20, status(id)); err != nil {
		return err
	}
	if _, err := theirs.each(20, tool("noop", "{}")); err != nil {
		return err
	}
	return f(ours, theirs, id)
}

func statusCPURound(b *bench) (o, t float64, err error) {
	owner, err := b.owner()
	if err != nil {
		return 0, 0, err
	}
	err = b.withStatus(func(ours, theirs *client, id string) error {
		spent := func(c *client, params string, pids ...int) (float64, error) {
			sum := func() (ms float64, err error) {
				for _, pid := range pids {
					one, err := cpu(pid)
					if err != nil {
						return 0, err
					}
					ms += one
				}
				return ms, nil
			}
			before, err := sum()
			if err != nil {
				return 0, err
			}
			if _, err := c.each(calls, params); err != nil {
				return 0, err
			}
			after, err := sum()
			return (after - before) * 1000 / calls, err
		}
		if o, err = spent(ours, status(id), ours.cmd.Process.Pid, owner); err == nil {
			t, err = spent(theirs, tool("noop", "{}"), theirs.cmd.Process.Pid)
		}
		return err
	})
	return o, t, err
}

// waitsRound blocks a thousand calls on a task that goes on, and measures a status
// call before and behind them, once all of them do wait: neither process has anything to
// do then.
func waitsRound(b *bench) (loaded, alone float64, err error) {
	owner, err := b.owner()
	if err != nil {
		return 0, 0, err
	}
	long, err := b.output(b.cctask, "start", "--claude", b.sleeper(), "A long task.")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _, _ = b.output(b.cctask, "rm", "--force", long) }()
	err = b.withStatus(func(ours, _ *client, id string) error {
		if alone, err = ours.each(calls, status(id)); err != nil {
			return err
		}
		for range 1000 {
			if _, err := ours.send("tools/call", tool("check_task_status", fmt.Sprintf(`{"task_id":%q,"wait_seconds":600}`, long))); err != nil {
				return err
			}
		}
		if err := quiet(ours.cmd.Process.Pid, owner); err != nil {
			return err
		}
		loaded, err = ours.each(calls, status(id))
		return err
	})
	return loaded, alone, err
}

// quiet returns when processes have done next to nothing for half a second.
func quiet(pids ...int) error {
	const most = 10 // ms of CPU
	for before := -1.0; ; time.Sleep(500 * time.Millisecond) {
		now := 0.0
		for _, pid := range pids {
			ms, err := cpu(pid)
			if err != nil {
				return err
			}
			now += ms
		}
		if before >= 0 && now-before <= most {
			return nil
		}
		before = now
	}
}

// sleeper is a claude that says that it began, and waits for its end.
func (b *bench) sleeper() string {
	path := filepath.Join(b.home, "sleeper")
	first, _, _ := strings.Cut(stubScript, " \\\n")
	_ = os.WriteFile(path, []byte(first+"\nexec sleep 600\n"), 0o755)
	return path
}

// batch starts tasks by one command and returns when all have ended.
func (b *bench) batch(n int) (seconds float64, err error) {
	file := filepath.Join(b.home, "prompts")
	if err := os.WriteFile(file, []byte(strings.Repeat("A trivial task.\n", n)), 0o644); err != nil {
		return 0, err
	}
	ms, err := b.timed(b.cctask, "start", "--each", file, "--wait")
	return ms / 1000, err
}

func tasksRound(b *bench) (ours, theirs float64, err error) {
	if _, err := b.owner(); err != nil {
		return 0, 0, err
	}
	s, err := b.batch(tasks)
	if err != nil {
		return 0, 0, err
	}
	if _, err := b.output("tsp", "-S", "8"); err != nil {
		return 0, 0, fmt.Errorf("%w: apt-get install task-spooler", err)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	errs := make(chan error, tasks)
	todo := make(chan struct{}, tasks)
	for range tasks {
		todo <- struct{}{}
	}
	close(todo)
	for range 8 { // as many hands as cctask's --each has
		wg.Go(func() {
			for range todo {
				if _, err := b.output("tsp", b.stub); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, 0, err
	default:
	}
	for out := "queued"; strings.Contains(out, "queued") || strings.Contains(out, "running"); {
		if out, err = b.output("tsp"); err != nil {
			return 0, 0, err
		}
	}
	t := time.Since(begin).Seconds()
	_, err = b.output("tsp", "-C")
	return tasks / s, tasks / t, err
}

// taskCPU is what a task of a batch costs the owner, or its runner and the stub.
func taskCPU(b *bench, own bool) (float64, float64, error) {
	owner, err := b.owner()
	if err != nil {
		return 0, 0, err
	}
	spent := func() (float64, error) {
		if own {
			return cpu(owner)
		}
		return children(owner), nil
	}
	before, err := spent()
	if err != nil {
		return 0, 0, err
	}
	if _, err := b.batch(tasks); err != nil {
		return 0, 0, err
	}
	after, err := spent()
	return (after - before) / tasks, 0, err
}

func memoryRound(b *bench) (float64, float64, error) {
	owner, err := b.owner()
	if err != nil {
		return 0, 0, err
	}
	before := table()
	id, err := b.output(b.cctask, "start", "--claude", b.sleeper(), "A long task.")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _, _ = b.output(b.cctask, "rm", "--force", id) }()
	if _, err := b.output(b.cctask, "logs", id, "-f", "--tail", "1", "--timeout", "1"); err != nil {
		time.Sleep(2 * time.Second) // until its memory is given back
	}
	// The runner may have served other tasks before: it is the parent of what is new.
	now := table()
	for pid, p := range now {
		if _, old := before[pid]; !old && now[p.parent].parent == owner {
			mb, err := private(p.parent)
			return mb, 0, err
		}
	}
	return 0, 0, fmt.Errorf("task %s has no runner", id)
}

func runStubRound(b *bench) (float64, float64, error) {
	if _, err := b.owner(); err != nil {
		return 0, 0, err
	}
	ms, err := b.timed(b.cctask, "run", "A trivial task.")
	return ms, 0, err
}

// realRound compares `cctask run` with claude called by hand, on a scripted API.
func realRound(processor bool) func(*bench) (float64, float64, error) {
	return func(b *bench) (ours, theirs float64, err error) {
		claude, err := realclaude.Find()
		if err != nil {
			return 0, 0, fmt.Errorf("%w: make claude installs it", err)
		}
		api, err := fakeapi.New()
		if err != nil {
			return 0, 0, err
		}
		defer api.Close()
		env := b.env
		b.env = append(realclaude.Env(b.home, api.URL, "IS_SANDBOX=1"), env[4:]...)
		defer func() { b.env = env }()
		owner, err := b.owner()
		if err != nil {
			return 0, 0, err
		}
		if _, err := b.output(b.cctask, "run", "--claude", claude, "warm"); err != nil {
			return 0, 0, err
		}
		side := func(f func() error) (float64, error) {
			begin, before := time.Now(), children(os.Getpid())+table()[os.Getpid()].own
			err := f()
			if processor {
				return children(os.Getpid()) + table()[os.Getpid()].own - before, err
			}
			return float64(time.Since(begin).Milliseconds()), err
		}
		apart := children(owner) + table()[owner].own // not below us: the owner is a session of its own
		ours, err = side(func() error { _, err := b.output(b.cctask, "run", "--claude", claude, "one turn"); return err })
		if processor {
			ours += children(owner) + table()[owner].own - apart
		}
		if err != nil {
			return 0, 0, err
		}
		theirs, err = side(func() error {
			c := b.command(claude, "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions", "--strict-mcp-config")
			c.Stdin = strings.NewReader("one turn")
			out, err := c.Output()
			if err == nil && !json.Valid([]byte(strings.SplitN(string(out), "\n", 2)[0])) {
				err = fmt.Errorf("claude said %q", out)
			}
			return err
		})
		return ours, theirs, err
	}
}
