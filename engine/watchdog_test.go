package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cctask/engine/claude"
	"cctask/engine/runner"
	"cctask/engine/task"
)

func TestSilenceIsJudged(t *testing.T) {
	t.Parallel()
	most := silences{startup: time.Minute, stall: 10 * time.Minute, answered: time.Minute}
	for _, c := range []struct {
		name string
		pulse
		silences
		want verdict
	}{
		{"just begun", pulse{begun: true}, most, verdict{again: 5 * time.Minute}},
		{"quiet", pulse{begun: true, quiet: 4 * time.Minute}, most, verdict{again: time.Minute}},
		{"half", pulse{begun: true, quiet: 5 * time.Minute}, most, verdict{stalled: "nothing for 5m, stopped at 10m", again: 5 * time.Minute}},
		{"beyond half", pulse{begun: true, quiet: 9 * time.Minute}, most, verdict{stalled: "nothing for 5m, stopped at 10m", again: time.Minute}},
		{"stalled", pulse{begun: true, quiet: 10 * time.Minute}, most, verdict{stop: task.StopStall}},
		{"never", pulse{begun: true, quiet: time.Hour}, silences{startup: time.Minute}, verdict{}},
		{"it waits for something", pulse{begun: true, busy: true, quiet: time.Hour}, most, verdict{}},
		{"it starts", pulse{quiet: 10 * time.Second}, most, verdict{again: 20 * time.Second}},
		{"it starts slowly", pulse{quiet: 40 * time.Second}, most, verdict{stalled: "nothing for 30s, stopped at 1m", again: 20 * time.Second}},
		{"it does not start", pulse{quiet: time.Minute}, most, verdict{stop: task.StopStartup}},
		{"it does not start, whatever a stall is", pulse{quiet: time.Minute}, silences{startup: time.Minute}, verdict{stop: task.StopStartup}},
		{"on a loaded machine", pulse{quiet: time.Minute, strain: 4}, most, verdict{again: time.Minute}},
		{"not even there", pulse{quiet: 4 * time.Minute, strain: 4}, most, verdict{stop: task.StopStartup}},
		{"an unstrained one has its minute", pulse{quiet: 50 * time.Second, strain: 0.1}, most, verdict{stalled: "nothing for 30s, stopped at 1m", again: 10 * time.Second}},
		{"answered", pulse{begun: true, resulted: true, quiet: 50 * time.Second}, most, verdict{again: 10 * time.Second}},
		{"answered, and stays", pulse{begun: true, resulted: true, quiet: time.Minute}, most, verdict{stop: task.StopAnswered}},
		{"answered without an init", pulse{resulted: true, quiet: time.Minute}, most, verdict{stop: task.StopAnswered}},
		{"answered, with work behind it", pulse{begun: true, resulted: true, busy: true, quiet: time.Hour}, most, verdict{}},
	} {
		if got := judgeSilence(c.pulse, c.silences); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestStrain(t *testing.T) {
	t.Parallel()
	many := map[task.ID]bool{}
	for i := range 100 {
		many[task.ID(fmt.Sprint(i))] = true
	}
	for _, c := range []struct {
		startups
		want float64
	}{
		{startups{}, 1},
		{startups{took: time.Second}, 1},
		{startups{took: 3 * gateTime}, 3},
		{startups{pending: map[task.ID]bool{"a": true}}, 1},
		{startups{pending: many}, mostStrain},
		{startups{took: time.Hour}, mostStrain},
	} {
		if got := c.strain(2); got != c.want {
			t.Errorf("%v, %d pending: %v, want %v", c.took, len(c.pending), got, c.want)
		}
	}
}

// mute is a site with one run, whose output is what a test has put there.
type mute struct {
	Site
	mu   sync.Mutex
	out  []byte
	life runner.Life
	why  []string // of stops
}

func (m *mute) sight() runner.Sight {
	m.mu.Lock()
	defer m.mu.Unlock()
	return runner.Sight{Life: m.life, Stdout: int64(len(m.out))}
}

func (m *mute) stops() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.why
}

// becomes lets it print, and lets its site be heard or not.
func (m *mute) becomes(life runner.Life, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = append(m.out, text...)
	m.life = cmp.Or(life, m.life)
}

func (m *mute) Look(_ context.Context, names ...string) (map[string]runner.Sight, error) {
	return map[string]runner.Sight{names[0]: m.sight()}, nil
}

func (m *mute) Read(_ context.Context, _, stream string, b []byte, off int64) (int, int64, error) {
	if stream != string(task.Stdout) {
		return 0, 0, fs.ErrNotExist
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(b, m.out[off:]), int64(len(m.out)), nil
}

func (m *mute) Stop(_ context.Context, _, why string, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = append(m.why, why)
	return nil
}

type noStore struct{ Store }

func (noStore) Attempt(task.ID, int) (task.Attempt, error) { return task.Attempt{}, nil }

func (noStore) Sealed(task.ID, int, task.Stream) (int64, error) { return 0, nil }

// The watch over a claude through an hour, to the second.
func TestSilenceInTime(t *testing.T) {
	t.Parallel()
	const (
		begins = `{"type":"system","subtype":"init","session_id":"s"}` + "\n"
		calls  = `{"type":"assistant","message":{"id":"1","content":[{"type":"tool_use","id":"t","name":"Bash"}]}}` + "\n"
		done   = `{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t"}]}}` + "\n"
		retry  = `{"type":"system","subtype":"api_retry","attempt":1,"max_retries":2}` + "\n"
		says   = `{"type":"assistant","message":{"id":"2","content":[{"type":"text","text":"x"}]}}` + "\n"
		works  = `{"type":"system","subtype":"background_tasks_changed","tasks":[{}]}` + "\n"
		ends   = `{"type":"system","subtype":"background_tasks_changed","tasks":[]}` + "\n"
		result = `{"type":"result","subtype":"success","result":"Yes.","num_turns":1}` + "\n"
	)
	type step struct {
		wait  time.Duration
		print string
		life  runner.Life // "": as it was
	}
	for name, c := range map[string]struct {
		steps   []step
		stalled time.Duration // when that is said, since the last step; 0: never
		stopped time.Duration
		why     task.StopReason
	}{
		"it never begins":   {nil, 30 * time.Second, time.Minute, task.StopStartup},
		"it begins":         {[]step{{wait: 59 * time.Second, print: begins}}, 5 * time.Minute, 10 * time.Minute, task.StopStall},
		"a tool runs":       {[]step{{print: begins}, {print: calls}}, 0, 0, ""},
		"a tool ran":        {[]step{{print: begins}, {print: calls}, {wait: time.Hour, print: done}}, 5 * time.Minute, 10 * time.Minute, task.StopStall},
		"claude retries":    {[]step{{print: begins}, {print: retry}}, 0, 0, ""},
		"it has retried":    {[]step{{print: begins}, {print: retry}, {wait: time.Hour, print: says}}, 5 * time.Minute, 10 * time.Minute, task.StopStall},
		"it comes back":     {[]step{{print: begins}, {wait: 9 * time.Minute, print: says}}, 5 * time.Minute, 10 * time.Minute, task.StopStall},
		"it has answered":   {[]step{{print: begins}, {wait: time.Minute, print: result}}, 0, time.Minute, task.StopAnswered},
		"work goes on":      {[]step{{print: begins + works + result}}, 0, 0, ""},
		"work went on":      {[]step{{print: begins + works + result}, {wait: time.Hour, print: ends}}, 0, time.Minute, task.StopAnswered},
		"it goes on itself": {[]step{{print: begins + result}, {wait: 59 * time.Second, print: says}}, 5 * time.Minute, 10 * time.Minute, task.StopStall},
		"its site is away":  {[]step{{print: begins}, {life: runner.Unknown}}, 0, 0, ""},
		"its site was away": {[]step{{print: begins}, {wait: time.Minute, life: runner.Unknown}, {wait: time.Hour, life: runner.Up}}, 4 * time.Minute, 9 * time.Minute, task.StopStall},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				m := &mute{life: runner.Up}
				e := &Engine{
					ctx: ctx, site: m, store: noStore{}, readers: make(chan struct{}, 1), wake: make(chan struct{}, 1),
					versions: map[task.ID]uint64{}, sched: newSchedule(limits{jobs: 1, startups: 2}), startups: startups{pending: map[task.ID]bool{}}, prices: claude.Prices{},
				}
				a := &attempt{e: e, id: "a", n: 1, at: newPost("", m), silences: silences{startup: time.Minute, stall: 10 * time.Minute, answered: time.Minute}}
				e.startsUp(a.id)
				a.attach(m.sight())
				over := make(chan error)
				go func() { over <- a.followOnce() }()
				for _, s := range c.steps {
					time.Sleep(s.wait)
					synctest.Wait()
					if why := m.stops(); len(why) > 0 {
						t.Fatalf("stopped before %+v: %s", s, why)
					}
					m.becomes(s.life, s.print)
					a.tell(m.sight())
					synctest.Wait()
				}
				var stalled, stopped time.Duration
				for since := time.Duration(0); since <= 2*time.Hour; since += time.Second {
					var shown task.Task
					if a.fill(&shown); shown.Progress.Stalled != "" && stalled == 0 {
						stalled = since
					}
					if len(m.stops()) > 0 && stopped == 0 {
						stopped = since
					}
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if stalled != c.stalled || stopped != c.stopped || stopped > 0 && (len(m.why) != 1 || m.why[0] != string(c.why)) {
					t.Errorf("stalled after %v, stopped after %v as %q; want %v, %v, %q", stalled, stopped, m.why, c.stalled, c.stopped, c.why)
				}
				cancel()
				if err := <-over; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		})
	}
}

// A look that comes long after its time tells nothing of claude: this process was
// stopped, or the machine asleep.
func TestALateLookIsNoSilence(t *testing.T) {
	t.Parallel()
	m := &mute{life: runner.Up}
	e := &Engine{ctx: t.Context(), site: m, store: noStore{}, sched: newSchedule(limits{startups: 2}), versions: map[task.ID]uint64{}}
	a := &attempt{e: e, id: "a", n: 1, at: newPost("", m), silences: silences{startup: time.Minute, stall: 10 * time.Minute}, news: make(chan struct{}, 1)}
	f, err := a.newFollower()
	if err != nil {
		t.Fatal(err)
	}
	f.guard.heard = time.Now().Add(-70 * time.Second)
	f.guard.due = time.Now().Add(-30 * time.Second)
	if f.watched(m.sight()); len(m.why) > 0 {
		t.Errorf("stopped: %s", m.why)
	}
	f.guard.heard, f.guard.due = time.Now().Add(-time.Hour), time.Now()
	m.out = []byte("news")
	if f.watched(runner.Sight{Life: runner.Up}); len(m.why) > 0 {
		t.Errorf("stopped though it has printed something: %s", m.why)
	}
	f.seen[0] = int64(len(m.out))
	if f.watched(m.sight()); len(m.why) != 1 || m.why[0] != string(task.StopStartup) {
		t.Errorf("stopped: %s", m.why)
	}
}
