package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"cctask/engine/task"
)

// decode reads the data back out of a page, as a browser does: a script ends at
// the first thing that looks like its end.
func decode(t *testing.T, page []byte) map[string]any {
	t.Helper()
	_, rest, ok := bytes.Cut(page, []byte(`<script type="application/json" id="data">`))
	raw, _, ends := bytes.Cut(rest, []byte("</script"))
	var v map[string]any
	if err := json.Unmarshal(raw, &v); !ok || !ends || err != nil {
		t.Fatalf("no data in the page: %v", err)
	}
	return v
}

func TestPack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		bars  [][2]int64
		lanes []int
	}{
		{"none", nil, nil},
		{"one after the other", [][2]int64{{1, 5}, {5, 9}, {12, 13}}, []int{0, 0, 0}},
		{"at once", [][2]int64{{1, 9}, {2, 5}, {3, 4}, {5, 7}, {9, 10}}, []int{0, 1, 2, 1, 0}},
		{"in disorder", [][2]int64{{5, 9}, {1, 6}}, []int{1, 0}},
		{"no time at all", [][2]int64{{1, 1}, {1, 1}, {1, 3}, {2, 2}}, []int{0, 0, 0, 1}},
	} {
		var bars []*bar
		for _, x := range c.bars {
			bars = append(bars, &bar{Start: x[0], End: x[1]})
		}
		n := pack(slices.Clone(bars))
		var lanes []int
		for _, b := range bars {
			lanes = append(lanes, b.Lane)
		}
		if !slices.Equal(lanes, c.lanes) || len(lanes) > 0 && n != slices.Max(lanes)+1 {
			t.Errorf("%s: %v of %d", c.name, lanes, n)
		}
	}
}

// TestPackAny: no two in a lane at once, and no lane too many.
func TestPackAny(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var bars []*bar
		for range 1 + r.IntN(60) {
			from := r.Int64N(500)
			bars = append(bars, &bar{Start: from, End: from + 1 + r.Int64N(90)})
		}
		lanes, most := pack(bars), 0
		for i, a := range bars {
			at := 0
			for j, b := range bars {
				if i != j && a.Lane == b.Lane && a.Start < b.End && b.Start < a.End {
					t.Fatalf("two at once in lane %d: %v, %v", a.Lane, a, b)
				}
				if b.Start <= a.Start && a.Start < b.End {
					at++
				}
			}
			most = max(most, at)
		}
		if lanes != most {
			t.Fatalf("%d lanes, %d at once", lanes, most)
		}
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	hour := time.Hour.Milliseconds()
	of := func(spans ...[2]int64) []part {
		var bars []*bar
		for _, s := range spans {
			bars = append(bars, &bar{Start: s[0] * hour, End: s[1] * hour})
		}
		found := parts(bars)
		for i := range found {
			found[i] = part{found[i][0] / hour, found[i][1] / hour}
		}
		return found
	}
	for _, c := range []struct{ got, want []part }{
		{of(), nil},
		{of([2]int64{1, 9}), []part{{1, 9}}},
		{of([2]int64{1, 9}, [2]int64{2, 3}, [2]int64{9, 12}), []part{{1, 12}}},             // no gap
		{of([2]int64{0, 8}, [2]int64{9, 17}), []part{{0, 17}}},                             // a short one
		{of([2]int64{0, 8}, [2]int64{24, 32}, [2]int64{33, 40}), []part{{0, 8}, {24, 40}}}, // a night
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
	var many [][2]int64
	for i := range int64(1000) {
		many = append(many, [2]int64{i * 1000, i*1000 + 1})
	}
	if n := len(of(many...)); n > maxParts {
		t.Errorf("%d parts", n)
	}
}

func TestTotals(t *testing.T) {
	t.Parallel()
	at := now.Add(-time.Hour)
	es := []Entry{
		entry(at, "a", "p", "r", run{took: time.Minute, status: task.Completed, usd: 0.1}),
		entry(at, "b", "p", "", run{took: time.Minute, status: task.Failed, reason: task.ReasonMaxTurns, usd: 0.2}, run{at: 5 * time.Minute, took: 30 * time.Minute, status: task.Completed, usd: 0.3}),
		entry(at, "c", "p", "", run{took: 2 * time.Minute, status: task.Failed, reason: task.ReasonAuth}),
		entry(at, "d", "p", "", run{took: 3 * time.Minute, status: task.Failed, reason: task.ReasonOverloaded}),
		entry(at, "e", "p", "", run{took: 3 * time.Minute, status: task.Timeout, reason: task.ReasonOverloaded}),
		entry(at, "f", "p", "", run{at: 50 * time.Minute, status: task.Running}),
		entry(at, "g", "p", ""),
	}
	es[3].Task.CostUncertain = true
	r := New(now)
	for _, e := range es {
		r.Add(e)
	}
	d := &r.data
	d.finish(About{})
	got, want := d.Totals, totals{
		Tasks: 7, USD: 0.6, Uncertain: true, Attempts: 8, Turns: 28, Lanes: 5,
		Elapsed: (60 + 31*60 + 2*60 + 3*60 + 3*60 + 10*60) * 1000,
		Usage:   task.Usage{InputTokens: 7 * 900, OutputTokens: 7 * 4100, CacheReadTokens: 7 * 90_000},
		Statuses: []count{
			{task.Queued, 1, 0}, {task.Running, 1, 0}, {task.Completed, 2, 0.6}, {task.Failed, 2, 0}, {task.Timeout, 1, 0},
		},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("totals\n%v, want\n%v", got, want)
	}
	if !slices.Equal(d.Longest, []int{1, 5, 3, 4, 2, 0}) {
		t.Errorf("longest: %v", d.Longest)
	}
	if len(d.Ends) != 2 || d.Ends[0].Reason != task.ReasonOverloaded || !slices.Equal(d.Ends[0].Tasks, []int{3, 4}) ||
		!slices.Equal(d.Ends[1].Tasks, []int{2}) || d.Ends[1].Hint != task.ReasonAuth.Hint() {
		t.Errorf("not completed: %+v", d.Ends)
	}
	// The running one goes on until now; the times are as from the base.
	if b := d.Tasks[5].Attempts[0]; d.Base+b.End != now.UnixMilli() || d.Base+b.Start != now.Add(-10*time.Minute).UnixMilli() {
		t.Errorf("the running attempt: %+v, base %d", b, d.Base)
	}
}

// TestEncoded: what a text is counted as is what the page takes for it.
func TestEncoded(t *testing.T) {
	t.Parallel()
	var every strings.Builder
	for r := range rune(0x3000) {
		every.WriteRune(r)
	}
	for _, s := range append(hostile, every.String(), "🙂漢") {
		x := newTexts()
		for _, limit := range []int{1 << 20, 3000, 100, 40, cutMark + 2, 0} {
			text := x.add(s, int64(len(s)))
			text.cut(limit)
			raw, err := json.Marshal(text)
			must(t, err)
			var head string
			if cut := json.Unmarshal(raw, &head) != nil; cut {
				if text.size > max(limit, cutMark+2) || len(raw) > text.size {
					t.Errorf("%.40q cut to %d: %d bytes, counted as %d", s, limit, len(raw), text.size)
				}
			} else if len(raw) != text.size || len(raw) > limit {
				t.Errorf("%.40q within %d: %d bytes, counted as %d", s, limit, len(raw), text.size)
			}
			if !strings.HasPrefix(s, text.s) {
				t.Errorf("%.40q became %.40q", s, text.s)
			}
		}
	}
	x := newTexts()
	if got := x.add("caf\xc3", 5).s; got != "caf" {
		t.Errorf("a torn character: %q", got)
	}
}

// TestFit: the texts fill their room, short ones stay whole, and the long ones
// are cut to one size, whatever was cut before.
func TestFit(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	var all []string
	for range 1000 {
		all = append(all, strings.Repeat("x", 1+r.IntN(5000)))
	}
	at := func(budget int, early bool) (sizes []int, sum int) {
		x := newTexts()
		for i, s := range all {
			x.add(s, int64(len(s)))
			if early && i%100 == 99 {
				x.shrink(budget)
			}
		}
		x.shrink(budget)
		for _, text := range x.all {
			sizes, sum = append(sizes, text.size), sum+text.size
		}
		if sum != x.size || sum > budget || sum < budget*99/100 {
			t.Errorf("%d bytes of %d, counted as %d", sum, budget, x.size)
		}
		return sizes, sum
	}
	late, _ := at(300_000, false)
	soon, _ := at(300_000, true)
	if !slices.Equal(late, soon) {
		t.Error("what was cut early differs from what is cut at the end")
	}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	page := render(t, hostileEntries())
	if n := bytes.Count(page, []byte("<script")); n != 2 {
		t.Errorf("%d scripts", n)
	}
	for _, bad := range []string{"\u2028", "\u2029", "<img", "<svg onload", "<!--"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has a raw %q", bad)
		}
	}
	if !utf8.Valid(page) {
		t.Error("the page is no UTF-8")
	}
	for i, x := range decode(t, page)["tasks"].([]any) {
		want := strings.ToValidUTF8(hostile[i], "\ufffd")
		if i == 9 {
			want = "\ufffd\ufffd torn \ufffd\ufffd" // one for each byte
		}
		if got := x.(map[string]any)["r"]; got != want {
			t.Errorf("%q became %q", want, got)
		}
	}
}

// many is a page of 10,000 tasks that say much, some of them tried again.
var many = func() func(t *testing.T) *bytes.Buffer {
	make := sync.OnceValues(func() (*bytes.Buffer, error) {
		long := strings.Repeat("All of this is said at length, and <b>some</b> of it twice.\n", 30)
		r := New(now)
		var before task.ID
		for i := range 10_000 {
			at := now.Add(-time.Duration(i) * 3 * time.Minute)
			runs := []run{{took: time.Hour, status: task.Completed, usd: 0.123456789}}
			if i%10 == 0 {
				runs = []run{{took: time.Hour, status: task.Interrupted, reason: task.ReasonInterrupted, message: "killed by signal 9, perhaps out of memory"}, runs[0], runs[0]}
			}
			e := entry(at, fmt.Sprintf("task-%d", i), fmt.Sprintf("Prompt %d. ", i)+long[:i%len(long)], long, runs...)
			if i > 0 {
				e.Task.Spec.After = []string{string(before)}
			}
			before = e.Task.ID
			r.Add(e)
		}
		var b bytes.Buffer
		return &b, r.Write(&b, About{})
	})
	return func(t *testing.T) *bytes.Buffer {
		t.Helper()
		b, err := make()
		must(t, err)
		return b
	}
}()

func TestSize(t *testing.T) {
	t.Parallel()
	page := many(t).Bytes()
	d := decode(t, page)
	t.Logf("10,000 tasks: %d bytes, texts cut to %v", len(page), d["textLimit"])
	if len(page) >= MaxPage || len(page) < MaxPage*98/100 {
		t.Errorf("%d bytes", len(page))
	}
	if d["textLimit"].(float64) < 100 {
		t.Error("too little of the texts is left")
	}
	if n := len(d["tasks"].([]any)); n != 10_000 {
		t.Errorf("%d tasks", n)
	}
}

// Of tasks that come oldest first the newest stay, and those that go take no room
// from the texts of the others.
func TestNewestOfThoseThatComeOldestFirst(t *testing.T) {
	t.Parallel()
	r := New(now)
	for i := range 20 {
		r.Add(entry(now.Add(time.Duration(i-20)*time.Minute), fmt.Sprint("task ", i), strings.Repeat("p", 1000), "answer", run{took: time.Second, status: task.Completed}))
	}
	if !r.Newest(3) || r.Len() != 3 || r.texts.size > 4000 {
		t.Errorf("%d tasks with %d bytes of text", r.Len(), r.texts.size)
	}
	if r.Newest(3) {
		t.Error("three are more than three")
	}
}
