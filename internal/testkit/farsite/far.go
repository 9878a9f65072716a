package farsite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cctask/engine/runner"
)

const farArg = "_far"

// roomFile is there while no start waits for room.
const roomFile = "room"

// Called tells whether this process was started as a far end.
func Called() bool { return len(os.Args) == 4 && os.Args[1] == farArg }

// Main is the far end: it ends with the pipe, and what runs there does not.
func Main() int {
	room, err := time.ParseDuration(os.Args[3])
	f := &far{root: os.Args[2], room: room}
	if err == nil {
		err = f.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "far end:", err)
		return 1
	}
	return 0
}

type far struct {
	root  string
	room  time.Duration // between a start and its runner
	local *runner.Local

	out sync.Mutex // a line at a time
	mu  sync.Mutex // what is ordered becomes a run, or nothing
}

// job is a start that waits for room. It outlives the far end.
type job struct {
	Due   time.Time
	Order runner.Order
	Env   [][]byte
}

func (f *far) path(more ...string) string { return filepath.Join(append([]string{f.root}, more...)...) }

func (f *far) serve() error {
	lock, err := os.OpenFile(f.path("far.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	// The one before may still be at a call that nobody waits for any more.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if err := errors.Join(runner.Become(), os.MkdirAll(f.path("jobs"), 0o700)); err != nil {
		return err
	}
	f.local = &runner.Local{Dir: f.root}
	f.local.Follow(func(name string, s runner.Sight) { f.say(answer{Name: name, Sight: f.named(name, s)}) })
	go f.start()
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the connection is gone
		}
		var c call
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		go func() {
			a, err := f.do(&c)
			a.ID, a.Fault = c.ID, faultOf(err)
			f.say(a)
		}()
	}
}

func (f *far) say(a answer) {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	f.out.Lock()
	defer f.out.Unlock()
	_, _ = os.Stdout.Write(append(b, '\n'))
}

func (f *far) do(c *call) (a answer, err error) {
	ctx := context.Background()
	switch c.Verb {
	case "hello":
		a.Place = f.local.Where()
		a.Place.Site, a.Place.Host, a.Place.Boot = "far", "far-host", f.boot()
	case "start":
		a.Sight, err = f.order(c)
	case "look":
		a.Sights, err = f.look(ctx, c.Names)
	case "stop":
		if f.takeOff(c.Name) {
			return a, nil
		}
		err = f.local.Stop(ctx, c.Name, c.Why, c.Hard)
	case "keep":
		err = f.local.Keep(ctx, c.Name)
	case "clear":
		f.takeOff(c.Name)
		err = f.local.Clear(ctx, c.Name, c.Hard)
	case "read":
		b := make([]byte, c.N)
		var n int
		n, a.Size, err = f.local.Read(ctx, c.Name, c.Stream, b, c.Off)
		a.Data = b[:n]
	case "ask":
		a.File, err = f.local.Ask(ctx, c.Path, c.N)
	case "reboot":
		err = f.reboot()
	default:
		err = fmt.Errorf("unknown verb %q", c.Verb)
	}
	return a, err
}

func (f *far) boot() string {
	b, err := os.ReadFile(f.path("boot"))
	if err != nil {
		return "first"
	}
	return string(b)
}

// named adds what the site knows of a run beside the runner's files.
func (f *far) named(name string, s runner.Sight) runner.Sight {
	s.Host, s.Told = "far-host", false // what is said while the pipe is broken nobody hears
	if f.room > 0 {
		s.Job = "job-" + name
	}
	return s
}

// order takes a start. One that is known stays as it is.
func (f *far) order(c *call) (runner.Sight, error) {
	if f.room == 0 {
		c.Order.Env = texts(c.Env)
		s, err := f.local.Start(context.Background(), c.Name, c.Order)
		return f.named(c.Name, s), err
	}
	seen, err := f.look(context.Background(), []string{c.Name})
	if s, ok := seen[c.Name]; err != nil || ok && (s.Life != runner.Gone || begun(s)) {
		return s, err
	}
	if err := f.local.Clear(context.Background(), c.Name, false); err != nil { // of a start that failed
		return runner.Sight{}, err
	}
	b, err := json.Marshal(job{Due: time.Now().Add(f.room), Order: c.Order, Env: c.Env})
	if err != nil {
		return runner.Sight{}, err
	}
	temp := f.path("job-" + c.Name)
	if err = os.WriteFile(temp, b, 0o600); err == nil {
		err = os.Rename(temp, f.path("jobs", c.Name))
	}
	return f.pending(c.Name), err
}

func begun(s runner.Sight) bool {
	return s.Rec.State != runner.StateNone && s.Rec.State != runner.StatePrepared
}

func texts(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}

func (f *far) pending(name string) runner.Sight {
	return f.named(name, runner.Sight{Life: runner.Pending, Rec: runner.Record{State: runner.StateNone}, Why: "Resources"})
}

// start gives the jobs that are due a runner, for as long as there is a far end.
func (f *far) start() {
	for ; ; time.Sleep(10 * time.Millisecond) {
		entries, _ := os.ReadDir(f.path("jobs"))
		for _, e := range entries {
			f.begin(e.Name())
		}
	}
}

func (f *far) begin(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := os.ReadFile(f.path("jobs", name))
	var j job
	if err != nil || json.Unmarshal(b, &j) != nil || time.Now().Before(j.Due) && !f.hasRoom() {
		return
	}
	j.Order.Env = texts(j.Env)
	// The run is there before the job goes: a death between leaves both, and the next
	// one finds a run that has begun or cannot have.
	if _, err := f.local.Start(context.Background(), name, j.Order); !errors.Is(err, runner.ErrNotStarted) {
		_ = os.Remove(f.path("jobs", name))
	}
}

// hasRoom tells whether the test has made room for all.
func (f *far) hasRoom() bool {
	_, err := os.Stat(f.path(roomFile))
	return err == nil
}

// takeOff cancels a start that still waits for room.
func (f *far) takeOff(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return os.Remove(f.path("jobs", name)) == nil
}

func (f *far) look(ctx context.Context, names []string) (map[string]runner.Sight, error) {
	// Before the runs: what leaves the jobs meanwhile is one of these.
	jobs := map[string]runner.Sight{}
	entries, err := os.ReadDir(f.path("jobs"))
	for _, e := range entries {
		jobs[e.Name()] = f.pending(e.Name())
	}
	if err != nil {
		return nil, err
	}
	seen, err := f.local.Look(ctx, names...)
	for name, s := range seen {
		seen[name] = f.named(name, s)
		if s.Life == runner.Up || begun(s) { // else its directory is just being made
			delete(jobs, name)
		}
	}
	if len(names) == 0 {
		for name := range jobs {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if s, ok := jobs[name]; ok {
			seen[name] = s
		}
	}
	return seen, err
}

// reboot ends everything at once: all is stopped first, so that nobody sees the
// others die and writes it down.
func (f *far) reboot() error {
	f.mu.Lock() // nothing begins any more
	pids := f.processes()
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range pids {
			_ = syscall.Kill(pid, sig)
		}
	}
	err := os.WriteFile(f.path("boot"), []byte(time.Now().String()), 0o600)
	if err == nil {
		err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return err
}

// processes are the runners, and what carries the mark of a run.
func (f *far) processes() (pids []int) {
	marks := []string{}
	entries, _ := os.ReadDir(f.path("run"))
	for _, e := range entries {
		marks = append(marks, "\x00"+runner.MarkerVar+"="+e.Name()+"\x00")
		run, err := runner.Open(f.path("run", e.Name()))
		if err != nil {
			continue
		}
		if rec, err := run.Record(); err == nil && rec.RunnerPID != 0 {
			if alive, err := run.Alive(); alive && err == nil {
				pids = append(pids, rec.RunnerPID)
			}
		}
	}
	list, _ := fs.Glob(os.DirFS("/proc"), "[0-9]*")
	for _, pid := range list {
		env, _ := os.ReadFile(filepath.Join("/proc", pid, "environ"))
		for _, mark := range marks {
			var n int
			if strings.Contains("\x00"+string(env), mark) {
				_, _ = fmt.Sscan(pid, &n)
				pids = append(pids, n)
				break
			}
		}
	}
	return pids
}
