package top

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"cctask/engine"
	"cctask/engine/task"
)

var update = flag.Bool("update", false, "write the goldens anew")

// fake is an engine that only knows what the test puts into it.
type fake struct {
	engine.Service
	mu      sync.Mutex
	tasks   []task.Task
	log     map[task.ID]string
	calls   []string
	failing error
}

func (f *fake) called(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
	return f.failing
}

func (f *fake) List(_ context.Context, q task.Filter) (p task.Page, err error) {
	for _, t := range f.tasks {
		for _, s := range q.Statuses {
			if t.Status == s {
				p.Tasks = append(p.Tasks, t)
			}
		}
	}
	return p, f.called("list")
}

func (f *fake) Output(_ context.Context, q engine.OutputQuery) (task.Output, error) {
	text := f.log[task.ID(q.Ref)]
	at := q.Offset
	if q.Tail > 0 {
		at = max(0, int64(len(text))-q.Tail)
	}
	end := min(int64(len(text)), at+int64(q.Limit))
	return task.Output{Offset: at, Data: []byte(text[at:end]), Size: int64(len(text)), Done: f.tasks[0].Status.Ended()}, f.called("output")
}

func (f *fake) Cancel(_ context.Context, ref string) (task.Task, error) {
	t := f.tasks[0]
	t.Status = task.Cancelled
	return t, f.called("cancel " + ref)
}

func (f *fake) Resume(_ context.Context, a engine.Again) (task.Task, error) {
	return f.tasks[0], f.called("resume " + a.Ref + " " + strings.Join(a.Env, ","))
}

func (f *fake) Retry(_ context.Context, a engine.Again) (task.Task, error) {
	return f.tasks[0], f.called("retry " + a.Ref)
}

func (f *fake) Watch(engine.Scope) engine.Watch { return &once{} }

// once tells of one change and then of none.
type once struct{ told bool }

func (o *once) Next(ctx context.Context) ([]engine.Event, error) {
	if o.told {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	o.told = true
	return nil, nil
}

func (o *once) Close() {}

var start = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

func newTask(n int, status task.Status, name string) task.Task {
	at := start.Add(time.Duration(n) * time.Second)
	t := task.Task{
		ID: task.NewID(at), Status: status, Attempt: 1, Seq: uint64(n), PromptHead: "do " + name,
		Spec: task.Spec{Name: name, WorkingDir: "/work"}, CreatedAt: at,
		History: make([]task.Change, 1),
	}
	switch {
	case status.Live():
		t.StartedAt, t.History = at, []task.Change{{At: at, To: task.Running}}
		t.Progress = &task.Progress{Turns: n, LastTool: "Bash go test", CostUSD: 0.25}
	case status.Ended():
		t.FinishedAt, t.CostUSD, t.DurationMS, t.NumTurns = at, 0.5, 61_000, 3
	}
	return t
}

// screen is a model that has seen its first snapshot.
type screen struct {
	*model
	t   *testing.T
	svc *fake
}

func open(t *testing.T, width, height int, tasks ...task.Task) *screen {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	svc := &fake{tasks: tasks, log: map[task.ID]string{}}
	for _, tk := range tasks {
		svc.log[tk.ID] = says("this is "+tk.Spec.Name) + "\n"
	}
	s := &screen{newModel(ctx, Config{Service: svc, Again: engine.Again{Env: []string{"A=1"}}}), t, svc}
	s.Update(tea.WindowSizeMsg{Width: width, Height: height})
	s.refresh()
	return s
}

func says(text string) string {
	return fmt.Sprintf(`{"type":"assistant","message":{"content":[{"type":"text","text":%q}]}}`, text)
}

// refresh does what a change of the tasks would.
func (s *screen) refresh() {
	s.t.Helper()
	s.feed.due, s.feed.watch = time.Time{}, &once{}
	snap, ok := s.feed.follow().(snapshot)
	if !ok {
		s.t.Fatal("no snapshot")
	}
	snap.at = start.Add(time.Minute)
	s.look(snap)
	s.do(s.fetch())
}

// do carries out commands, and what they lead to.
func (s *screen) do(cmd tea.Cmd) {
	for cmd != nil {
		msg := cmd()
		if _, quit := msg.(tea.QuitMsg); quit || msg == nil {
			return
		}
		_, cmd = s.Update(msg)
	}
}

var named = map[string]tea.KeyPressMsg{
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape},
	"tab": {Code: tea.KeyTab}, "backspace": {Code: tea.KeyBackspace}, "pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl},
}

func (s *screen) press(keys ...string) {
	for _, k := range keys {
		msg, ok := named[k]
		if !ok {
			msg = tea.KeyPressMsg{Text: k, Code: []rune(k)[0]}
		}
		_, cmd := s.Update(msg)
		s.do(cmd)
	}
}

func (s *screen) text() string { return ansi.Strip(s.View().Content) }

func (s *screen) shows(parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if !strings.Contains(s.text(), p) {
			s.t.Errorf("the screen lacks %q:\n%s", p, s.text())
		}
	}
}

func (s *screen) lacks(parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if strings.Contains(s.text(), p) {
			s.t.Errorf("the screen has %q:\n%s", p, s.text())
		}
	}
}

func several(t *testing.T, width, height int) *screen {
	t.Helper()
	failed := newTask(6, task.Failed, "broken")
	failed.Message, failed.Reason = "the API said no", task.ReasonAuth
	return open(t, width, height,
		newTask(9, task.Queued, "second"), newTask(8, task.Queued, "first"), newTask(2, task.Running, "newer"),
		newTask(1, task.Running, "older"), newTask(5, task.Completed, "fine"), failed)
}

func TestOrder(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	at := -1
	for _, name := range []string{"older  ", "newer  ", "first  ", "second  ", "broken  ", "fine  "} {
		i := strings.Index(s.text(), name)
		if i <= at {
			t.Errorf("%q stands at %d, after %d:\n%s", name, i, at, s.text())
		}
		at = i
	}
	s.shows("[all 6]", "running 2", "queued 2", "ended 2", "$1.50", "older", "this is older")
}

// TestEveryScreenFits: whatever the size and whatever stands in it, no line is
// too long, none is missing, and no control character comes through.
func TestEveryScreenFits(t *testing.T) {
	t.Parallel()
	evil := newTask(3, task.Running, "\x1b[2J\x1b]0;title\a漢字漢字漢字漢字 👨‍👩‍👧 👍🏽 ❤️ 🇩🇪 क्षि é\u202e")
	evil.PromptHead, evil.Progress.LastTool = "\x9b31m🙂\r\n\tx", "Bash \x1b[31m漢"
	evil.Spec.Labels, evil.Spec.WorkingDir = []string{"\x1b[5m"}, "/\x07"
	for _, method := range []ansi.Method{ansi.WcWidth, ansi.GraphemeWidth} {
		for _, width := range []int{1, 2, 9, 39, 40, 63, 79, 80, 159, 160, 161, 200} {
			for _, height := range []int{1, 5, 6, 13, 14, 24, 60} {
				s := several(t, width, height)
				s.svc.tasks = append(s.svc.tasks, evil)
				s.svc.log[evil.ID] = says("\x1b[2J\ttab 漢字\n"+strings.Repeat("long 漢字 ", 50)) + "\nraw \x1b[31m\n"
				s.method = method
				s.refresh()
				for _, keys := range [][]string{nil, {"down", "down"}, {"enter"}, {"enter", "?"}, {"x", "c"}, {"n", "/", "x"}} {
					s.press(keys...)
					lines := strings.Split(s.View().Content, "\n")
					if len(lines) != height {
						t.Fatalf("%d lines of %d", len(lines), height)
					}
					for _, l := range lines {
						if n := method.StringWidth(l); n > width {
							t.Fatalf("%d columns of %d: %q", n, width, l)
						}
						if strings.ContainsFunc(ansi.Strip(l), unicode.IsControl) || strings.Contains(l, "\x1b[2J") || strings.Contains(l, "\u202e") {
							t.Fatalf("a control character: %q", l)
						}
					}
				}
			}
		}
	}
}

// TestColumnsAlign: wide characters shift nothing.
func TestColumnsAlign(t *testing.T) {
	t.Parallel()
	s := open(t, 200, 20, newTask(1, task.Running, "漢字漢字"), newTask(2, task.Running, "🚀🚀"), newTask(3, task.Running, "plain"))
	for _, line := range strings.Split(s.text(), "\n")[1:5] {
		before, _, _ := strings.Cut(line, "│")
		if n := s.method.StringWidth(before); n != s.listWidth()+1 {
			t.Errorf("the rule stands in column %d, not %d: %s", n, s.listWidth()+1, line)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	s.press("tab")
	s.shows("[running 2]", "older", "newer")
	s.lacks("first", "broken")
	s.press("tab", "tab")
	s.shows("[ended 2]", "broken")
	s.lacks("older")
	s.press("tab", "/", "F", "I", "N", "x", "backspace")
	s.shows("/FIN", "fine")
	s.lacks("older", "broken")
	s.press("enter", "q") // q leaves again
	s.shows("/FIN", "c cancel")
	s.press("esc")
	s.shows("older", "broken")
	s.press("/", "u", "u", "enter") // no id has a u: see Crockford's base 32
	s.shows("No task fits")
	s.press("c", "r", "R", "enter", "pgup", "G") // nothing is selected
	s.press("/", "esc")
	s.shows("older")
	if len(s.svc.calls) > 20 {
		t.Errorf("%d requests: %v", len(s.svc.calls), s.svc.calls)
	}
}

// TestSelectionStays with its task, and at its place when that has gone.
func TestSelectionStays(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	s.press("down", "down")
	s.shows("› queued     first", "waiting")
	s.svc.tasks = append(s.svc.tasks, newTask(0, task.Running, "before"))
	s.refresh()
	s.shows("› queued     first")
	s.svc.tasks = []task.Task{newTask(1, task.Running, "one"), newTask(2, task.Running, "two")}
	s.refresh()
	s.shows("› running    two")
	s.svc.tasks = nil
	s.refresh()
	s.shows("No task is recorded")
	s.lacks("›")
}

func TestQueuedSaysWhy(t *testing.T) {
	t.Parallel()
	held, next := newTask(2, task.Queued, "one"), newTask(1, task.Queued, "two")
	held.Waiting.For, next.QueuePosition = task.WaitHeld, 1
	s := open(t, 80, 24, held, next)
	s.shows("held", "1 in the queue")
	s.lacks("0 in the queue")
}

func TestCancelAsks(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	id := string(s.sel)
	s.press("c")
	s.shows("Cancel older, which is running? y/n")
	s.press("n")
	s.shows("not cancelled")
	s.press("c", "q") // no answer is no
	s.shows("not cancelled")
	if strings.Contains(strings.Join(s.svc.calls, " "), "cancel") {
		t.Fatal(s.svc.calls)
	}
	s.press("c")
	s.svc.tasks = s.svc.tasks[:3] // the asked one is no longer where it was
	s.press("y")
	if got := s.svc.calls[len(s.svc.calls)-1]; got != "cancel "+id {
		t.Errorf("%s, not cancel %s", got, id)
	}
	s.press("G", "c")
	s.shows("has ended")
}

func TestResumeAndRetry(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	s.press("G", "up") // broken
	s.shows("the API said no", "Log in")
	id := string(s.sel)
	s.press("r", "R")
	calls := strings.Join(s.svc.calls, ";")
	if !strings.Contains(calls, "resume "+id+" A=1") || !strings.Contains(calls, "retry "+id) {
		t.Error(calls)
	}
	s.svc.failing = &task.Error{Code: task.CodeConflict, Message: "no \x1b[31m", Hint: "Do that."}
	s.press("r")
	s.shows(`no \x1b[31m. Do that.`)
}

func TestReconnecting(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	s.svc.failing = errors.New("gone")
	s.refresh()
	s.shows("reconnecting", "older")
	s.svc.failing = nil
	s.refresh()
	s.lacks("reconnecting")
}

// TestLog: what comes is shown once, also torn and after a jump; what is read
// stays where it is.
func TestLog(t *testing.T) {
	t.Parallel()
	s := open(t, 80, 24, newTask(1, task.Running, "one"))
	id := s.sel
	for n := range 40 {
		s.svc.log[id] += says(fmt.Sprintf("word %d.", n)) + "\n"
	}
	grow := func(more string) {
		s.svc.log[id] += more
		s.svc.tasks[0].StdoutBytes = int64(len(s.svc.log[id]))
		s.refresh()
	}
	line := says("the torn line")
	grow(line[:20])
	s.shows("word 39.")
	s.lacks("torn")
	grow(line[20:] + "\n")
	s.shows("the torn line")
	s.press("enter", "g")
	s.shows("this is one", "word 5.", "lines below")
	s.lacks("word 39.", "OUT/S")
	grow(says("news") + "\n")
	s.shows("this is one")
	s.lacks("news")
	s.press("G")
	s.shows("news", "word 39.")
	s.press("pgup", "up", "down")
	s.lacks("news")
	s.press("pgdown", "esc")
	s.shows("OUT/S", "news")
	grow(strings.Repeat(says(strings.Repeat("much ", 100))+"\n", 2000) + says("the last word") + "\n")
	s.shows("the last word")
	s.press("enter", "g")
	s.shows("the end of a long log")
	if n := len(s.log.lines); n > mostLines || n < 100 {
		t.Errorf("%d lines are kept", n)
	}
}

// many are forty tasks, as a person has who runs a fleet: the failed one stands
// behind the queue.
func many() (tasks []task.Task) {
	for n := range 40 {
		status, name := task.Queued, fmt.Sprintf("chapter-%02d", n)
		switch {
		case n < 4:
			status = task.Running
		case n == 38:
			status = task.Failed
		case n == 39:
			status, name = task.Completed, "a-name-that-is-longer-than-most-but-says-what-it-is-for"
		}
		t := newTask(n, status, name)
		t.ID = task.ID(fmt.Sprintf("01ABCDEFGHJKMNPQRSTVWXYZ%02d", n))
		if status == task.Failed {
			t.Message, t.Reason, t.CostUSD = "API Error: 529 overloaded", task.ReasonOverloaded, 38.0476
		}
		if status == task.Queued {
			t.QueuePosition = n - 3
			t.Spec.Name = ""
			t.PromptHead = "Translate chapter " + fmt.Sprint(n) + " and keep the code as it is"
		}
		tasks = append(tasks, t)
	}
	return tasks
}

// TestScreens are what a person sees: how the list and the log share a terminal,
// what leaves where there is no room.
func TestScreens(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 40} {
		for _, size := range [][2]int{{60, 24}, {80, 24}, {120, 35}, {200, 60}} {
			tasks := many()[:n]
			if n == 1 {
				tasks = many()[38:39]
			}
			s := open(t, size[0], size[1], tasks...)
			if n > 1 {
				s.press("j")
			}
			file := filepath.Join("..", "..", "testdata", "top", fmt.Sprintf("%d-tasks-%dx%d.txt", n, size[0], size[1]))
			var b strings.Builder
			for line := range strings.SplitSeq(s.text(), "\n") {
				b.WriteString(strings.TrimRight(line, " ") + "\n")
			}
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || string(want) != b.String() {
				t.Errorf("%s; `go test ./internal/top -update` writes it anew: %v\n%s", file, err, b.String())
			}
		}
	}
}

// TestOfManyTheEndIsReached: arrows and a count say that there are more.
func TestOfManyTheEndIsReached(t *testing.T) {
	t.Parallel()
	s := open(t, 80, 24, many()...)
	s.shows("TASK 1/40", "↓ queued")
	s.lacks("↑", "failed")
	s.press("G")
	s.shows("TASK 40/40", "↑ queued", "› failed", "chapter-38", "resume in a few minutes")
	s.lacks("↓")
	s.svc.tasks = s.svc.tasks[28:]
	s.refresh()
	s.shows("failed", "a-name-that") // twelve have room beside the log
	s.lacks("↓", "↑", "/12")
}

func TestRate(t *testing.T) {
	t.Parallel()
	r := &meter{}
	for i := range 10 {
		r.add(start.Add(time.Duration(i)*time.Second), int64(i*1000))
	}
	for after, want := range map[time.Duration]int64{9 * time.Second: 1000, 12 * time.Second: 400, time.Minute: 0} {
		if got := r.rate(start.Add(after)); got != want {
			t.Errorf("after %v: %d, want %d", after, got, want)
		}
	}
}

// TestWithoutColour keeps to looks that are none.
func TestWithoutColour(t *testing.T) {
	t.Parallel()
	s := several(t, 200, 60)
	for _, colour := range []bool{false, true} {
		s.colour = colour
		if got := strings.Contains(s.View().Content, "\x1b[3"); got != colour {
			t.Errorf("colour %v, but it is %v", got, colour)
		}
	}
}

// TestHighlightCoversTheRow, also behind cells that were cut.
func TestHighlightCoversTheRow(t *testing.T) {
	t.Parallel()
	for _, width := range []int{60, 80, 200} {
		s := open(t, width, 24, newTask(1, task.Running, strings.Repeat("long ", 30)))
		s.svc.tasks[0].Progress.LastTool = strings.Repeat("tool ", 30)
		s.refresh()
		for line := range strings.SplitSeq(s.View().Content, "\n") {
			if _, row, ok := strings.Cut(line, "\x1b[7m›"); ok {
				if lit, _, _ := strings.Cut(row, "\x1b"); !strings.Contains(lit, "59s") || strings.Count(lit, "…") < 2 {
					t.Errorf("at %d only this is highlighted: %q", width, lit)
				}
			}
		}
	}
}

// TestTimesAgree: the panel says what the row says.
func TestTimesAgree(t *testing.T) {
	t.Parallel()
	quick := newTask(1, task.Completed, "one")
	quick.DurationMS = 364
	s := open(t, 80, 24, quick)
	if n := strings.Count(s.text(), "364ms"); n != 2 {
		t.Errorf("364ms stands %d times:\n%s", n, s.text())
	}
}

// TestCostOfThoseInSight: where there are more tasks than top looks at, the sum
// says so, as far as there is room.
func TestCostOfThoseInSight(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{80: "$1.50 in the newest 6  0 B/s", 75: "$1.50+  0 B/s"} {
		s := several(t, width, 24)
		s.lacks("$1.50+", "newest")
		s.more["ended"] = true
		s.shows("[all 6+]", "ended 2+", want)
	}
}

// TestFooterOfTheWholeLog offers the way back.
func TestFooterOfTheWholeLog(t *testing.T) {
	t.Parallel()
	s := several(t, 80, 24)
	s.shows("Enter log")
	s.press("enter")
	s.shows("Enter back")
	s.lacks("Enter log")
	s.press("enter")
	s.shows("Enter log")
}

// TestQuiet: a screen on which nothing changes is not drawn anew.
func TestQuiet(t *testing.T) {
	t.Parallel()
	s := open(t, 80, 24, newTask(1, task.Completed, "one"))
	s.Update(tick(s.now.Add(9*time.Minute + time.Second)))
	was := s.View().Content
	s.Update(tick(s.now.Add(time.Second)))
	if s.View().Content != was {
		t.Error("it is another screen")
	}
	if calls := len(s.svc.calls); calls != 4 {
		t.Errorf("%d requests, want 3 lists and a log: %v", calls, s.svc.calls)
	}
}

func TestQuit(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"?", "q"}, {"/", "ctrl+c"}, {"c", "ctrl+c"}} {
		s := several(t, 80, 24)
		s.press(keys[:len(keys)-1]...)
		msg, ok := named[keys[len(keys)-1]]
		if !ok {
			msg = tea.KeyPressMsg{Text: "q", Code: 'q'}
		}
		if _, cmd := s.Update(msg); cmd == nil {
			t.Errorf("%v does not leave", keys)
		} else if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%v does not leave", keys)
		}
	}
}
