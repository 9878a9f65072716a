package report

import (
	"cmp"
	"slices"

	"cctask/engine/task"
)

// data is what the page's script reads. Times are milliseconds since the epoch,
// in tasks since Base; 0 is none.
type data struct {
	Now       int64  `json:"now"`
	Base      int64  `json:"base"`
	Version   string `json:"version"`
	Selection string `json:"selection,omitempty"`
	More      bool   `json:"more,omitempty"`
	TextLimit int    `json:"textLimit,omitempty"` // about how many bytes are shown of a text that was cut; 0: none was

	Totals  totals  `json:"totals"`
	Longest []int   `json:"longest"` // places in Tasks
	Ends    []ended `json:"ends"`    // otherwise than completed, the most frequent reason first
	Parts   []part  `json:"parts"`

	Words []*text `json:"words"`
	Tasks []*row  `json:"tasks"`

	links int
}

// row is a task. Words are places in data.Words, from 1. Names are short and what
// goes without saying is left out: the less room this takes, the more the texts have.
type row struct {
	ID        task.ID            `json:"id"`
	Status    task.Status        `json:"st"`
	Name      *text              `json:"n,omitempty"`
	Message   *text              `json:"m,omitempty"`
	Reason    task.FailureReason `json:"why,omitempty"`
	Answer    *text              `json:"r,omitempty"`
	Dir       int                `json:"d,omitempty"`
	Model     int                `json:"mo,omitempty"`
	Labels    []int              `json:"l,omitempty"`
	Created   int64              `json:"c"`
	Finished  int64              `json:"f,omitempty"`
	Elapsed   int64              `json:"ms,omitempty"`
	USD       float64            `json:"usd,omitempty"`
	Uncertain bool               `json:"un,omitempty"`
	Turns     int                `json:"tu,omitempty"`
	Attempts  []*bar             `json:"a,omitempty"`
	After     []int              `json:"af,omitempty"` // places in data.Tasks

	usage task.Usage
	after []task.ID
}

// bar is an attempt. One that never ran has no start. No N is the first, no Kind
// First, and no Status the task's, as is the cost of a lone one.
type bar struct {
	N       int                `json:"n,omitempty"`
	Kind    task.AttemptKind   `json:"k,omitempty"`
	Status  task.Status        `json:"st,omitempty"`
	Reason  task.FailureReason `json:"why,omitempty"`
	Message *text              `json:"m,omitempty"`
	Prompt  *text              `json:"p,omitempty"` // where it brought one
	Start   int64              `json:"s,omitempty"`
	End     int64              `json:"e,omitempty"`
	Lane    int                `json:"la,omitempty"` // from 0
	USD     float64            `json:"usd,omitempty"`
}

// terse leaves out what the page's script fills in.
func (x *row) terse() {
	for i, b := range x.Attempts {
		if i == len(x.Attempts)-1 && b.End == x.Finished {
			x.Finished = 0
		}
		if b.N == 1 {
			b.N = 0
		}
		if b.Kind == task.First {
			b.Kind = ""
		}
		if b.Status == x.Status {
			b.Status = ""
		}
		if len(x.Attempts) == 1 {
			b.USD, b.Reason = 0, ""
		}
	}
}

type totals struct {
	Tasks     int        `json:"tasks"`
	Statuses  []count    `json:"statuses"` // those that there are, in the order of a task's life
	USD       float64    `json:"usd"`
	Uncertain bool       `json:"uncertain,omitempty"`
	Elapsed   int64      `json:"ms"` // with a process, all tasks together
	Attempts  int        `json:"attempts"`
	Turns     int        `json:"turns"`
	Usage     task.Usage `json:"usage"`
	Lanes     int        `json:"lanes"` // the most that ran at once
}

type count struct {
	Status task.Status `json:"st"`
	Tasks  int         `json:"tasks"`
	USD    float64     `json:"usd"`
}

// ended are the tasks that ended for a reason.
type ended struct {
	Reason task.FailureReason `json:"why"`
	Hint   string             `json:"hint"`
	Tasks  []int              `json:"tasks"` // places in data.Tasks
}

// longest is how many tasks are listed as the longest.
const longest = 10

// finish computes what needs all tasks.
func (d *data) finish(about About) {
	d.Version, d.Selection, d.More = about.Version, about.Selection, about.More
	var bars []*bar
	for _, x := range d.Tasks {
		for _, b := range x.Attempts {
			if b.Start == 0 {
				continue
			}
			if b.End == 0 {
				b.End = d.Now
			}
			b.End = max(b.End, b.Start) // the clock may have been set back
			bars = append(bars, b)
		}
	}
	d.Totals.Lanes = pack(bars)
	d.Parts = append(d.Parts, parts(bars)...)
	d.total()
	d.rank()
	d.link()
	d.rebase()
}

func (d *data) total() {
	counts := map[task.Status]*count{}
	for _, s := range task.Statuses {
		counts[s] = &count{Status: s}
	}
	t := &d.Totals
	for _, x := range d.Tasks {
		c := counts[x.Status]
		c.Tasks, c.USD = c.Tasks+1, c.USD+x.USD
		t.Tasks, t.USD, t.Elapsed, t.Turns = t.Tasks+1, t.USD+x.USD, t.Elapsed+x.Elapsed, t.Turns+x.Turns
		t.Uncertain = t.Uncertain || x.Uncertain
		t.Usage = t.Usage.Add(x.usage)
		t.Attempts += len(x.Attempts)
	}
	for _, s := range task.Statuses {
		if c := counts[s]; c.Tasks > 0 {
			c.USD = task.RoundUSD(c.USD)
			t.Statuses = append(t.Statuses, *c)
		}
	}
	t.USD = task.RoundUSD(t.USD)
}

// rank finds the longest, and those that did not complete by their reasons.
func (d *data) rank() {
	reasons := map[task.FailureReason]*ended{}
	for i, x := range d.Tasks {
		if x.Elapsed > 0 {
			d.Longest = append(d.Longest, i)
		}
		if !x.Status.Ended() || x.Status == task.Completed {
			continue
		}
		if x.Reason == "" {
			x.Reason = task.ReasonUnknown
		}
		if reasons[x.Reason] == nil {
			reasons[x.Reason] = &ended{Reason: x.Reason, Hint: x.Reason.Hint()}
		}
		reasons[x.Reason].Tasks = append(reasons[x.Reason].Tasks, i)
	}
	slices.SortStableFunc(d.Longest, func(i, j int) int { return int(d.Tasks[j].Elapsed - d.Tasks[i].Elapsed) })
	d.Longest = d.Longest[:min(longest, len(d.Longest))]
	for _, r := range task.Reasons {
		if e := reasons[r]; e != nil {
			d.Ends = append(d.Ends, *e)
		}
	}
	slices.SortStableFunc(d.Ends, func(a, b ended) int { return len(b.Tasks) - len(a.Tasks) })
}

// maxLinks is how many lines the page draws at most: more would hide the bars, and make
// each zoom slow.
const maxLinks = 300

// link finds the tasks after which others started, as far as both have a bar.
func (d *data) link() {
	ran := map[task.ID]int{}
	for i, x := range d.Tasks {
		if slices.ContainsFunc(x.Attempts, func(b *bar) bool { return b.Start != 0 }) {
			ran[x.ID] = i
		}
	}
	for _, x := range d.Tasks {
		if _, ok := ran[x.ID]; !ok {
			continue
		}
		for _, id := range x.after {
			if i, ok := ran[id]; ok && d.links < maxLinks {
				x.After, d.links = append(x.After, i), d.links+1
			}
		}
	}
}

// rebase makes times short: a page has many.
func (d *data) rebase() {
	d.Base = d.Now
	for _, x := range d.Tasks {
		d.Base = min(d.Base, x.Created)
		for _, b := range x.Attempts {
			if b.Start != 0 {
				d.Base = min(d.Base, b.Start)
			}
		}
	}
	d.Base-- // no time is 0
	since := func(t *int64) {
		if *t != 0 {
			*t -= d.Base
		}
	}
	for _, x := range d.Tasks {
		since(&x.Created)
		since(&x.Finished)
		for _, b := range x.Attempts {
			since(&b.Start)
			since(&b.End)
		}
		x.terse()
	}
	for i := range d.Parts {
		since(&d.Parts[i][0])
		since(&d.Parts[i][1])
	}
}

// pack orders bars by their starts and gives each the lowest lane that is free
// then. The lanes are as many as there ever were bars at once.
func pack(bars []*bar) int {
	slices.SortStableFunc(bars, func(a, b *bar) int { return cmp.Compare(a.Start, b.Start) })
	var free []int64 // when each lane is free again
	for _, b := range bars {
		b.Lane = slices.IndexFunc(free, func(at int64) bool { return at <= b.Start })
		if b.Lane < 0 {
			b.Lane, free = len(free), append(free, 0)
		}
		free[b.Lane] = b.End
	}
	return len(free)
}

// part is a stretch of time from and to which something ran.
type part [2]int64

// Between two parts lies a gap that the page draws short: one in which nothing
// ran for longer than an eighth of all the time in which something did.
const (
	maxParts = 25
	gapShare = 8
)

// parts are the stretches of the time axis, for bars in order.
func parts(bars []*bar) []part {
	var busy []part
	var sum int64
	for _, b := range bars {
		if n := len(busy); n > 0 && b.Start <= busy[n-1][1] {
			busy[n-1][1] = max(busy[n-1][1], b.End)
			continue
		}
		busy = append(busy, part{b.Start, b.End})
	}
	var gaps []int64
	for i, p := range busy {
		sum += p[1] - p[0]
		if i > 0 {
			gaps = append(gaps, p[0]-busy[i-1][1])
		}
	}
	slices.Sort(gaps)
	long := sum/gapShare + 1
	if n := len(gaps); n >= maxParts {
		long = max(long, gaps[n-maxParts]+1)
	}
	var found []part
	for _, p := range busy {
		if n := len(found); n > 0 && p[0]-found[n-1][1] < long {
			found[n-1][1] = p[1]
			continue
		}
		found = append(found, p)
	}
	return found
}
