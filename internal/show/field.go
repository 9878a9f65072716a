package show

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cctask/engine/task"
)

// Row is a task as it is shown at a moment. Without a moment what grows with the
// clock is as the record has it.
type Row struct {
	task.Task
	Now     time.Time
	Strokes string // that lead to it in a tree
}

// Field is something that can be shown of a task.
type Field struct {
	Name string   // that of task.View's JSON; tokens without the object that holds them
	Old  []string // names that it had before, as templates write them
	Head string
	// Value is for programs: a string, []string, bool, int, int64, float64 or
	// time.Time; "" is what is not known.
	Value  func(r Row) any
	Text   func(r Row) string // for people; nil: the plain value
	Least  int                // the width down to which it may be cut; 0: never
	Right  bool               // stands on the right; numbers with a point by their points
	Yields int                // where a table has no room those with the highest number leave first; 0: never
	Sort   task.Sort          // the order of a list by it; "": none
}

// Fields are all of them, in the order of csv.
var Fields = []Field{
	{Name: "task_id", Old: []string{"ID"}, Head: "ID", Value: func(r Row) any { return string(r.ID) }, Text: func(r Row) string { return r.Strokes + string(r.ID) }},
	{Name: "name", Old: []string{"Name"}, Head: "NAME", Value: func(r Row) any { return r.Spec.Name }, Least: 12, Yields: 1},
	{Name: "labels", Old: []string{"Labels"}, Head: "LABELS", Value: func(r Row) any { return r.Spec.Labels }, Text: func(r Row) string { return strings.Join(r.Spec.Labels, ", ") }, Least: 8, Yields: 6},
	{Name: "status", Old: []string{"Status"}, Head: "STATUS", Value: func(r Row) any { return string(r.Status.Public()) }},
	{Name: "failure_reason", Old: []string{"Reason"}, Head: "REASON", Value: func(r Row) any { return string(r.Reason) }, Yields: 5},
	{Name: "stop_reason", Head: "STOPPED", Value: func(r Row) any { return string(r.StopReason) }, Yields: 5},
	{Name: "status_message", Old: []string{"Message"}, Head: "MESSAGE", Value: func(r Row) any { return r.Message }, Text: Row.Why, Least: 16, Yields: 2},
	{Name: "exit_code", Old: []string{"Exit"}, Head: "EXIT", Value: Row.exitCode, Right: true, Yields: 5},
	{Name: "attempt", Old: []string{"Attempt"}, Head: "ATTEMPT", Value: func(r Row) any { return known(r.Attempt) }, Right: true, Yields: 5},
	{Name: "queue_position", Old: []string{"Queue"}, Head: "QUEUE", Value: func(r Row) any { return known(r.QueuePosition) }, Right: true, Yields: 5},
	{Name: "waiting_for", Head: "WAITS FOR", Value: func(r Row) any { return string(r.Waiting.For) }, Yields: 5},
	{Name: "waiting_until", Head: "UNTIL", Value: func(r Row) any { return r.Waiting.Until }, Yields: 5},
	{Name: "waiting_on", Head: "WAITS ON", Value: func(r Row) any { return r.Waiting.On }, Yields: 5, Least: 8},
	{Name: "priority", Head: "PRIORITY", Value: func(r Row) any { return r.Spec.Priority }, Right: true, Yields: 5},
	{Name: "group", Head: "GROUP", Value: func(r Row) any { return r.Spec.Group }, Yields: 5},
	{Name: "parent_id", Head: "PARENT", Value: func(r Row) any { return string(r.ParentID) }, Yields: 5},
	{Name: "root_id", Head: "ROOT", Value: func(r Row) any { return string(r.RootID) }, Yields: 5},
	{Name: "depth", Head: "DEPTH", Value: func(r Row) any { return known(r.Depth) }, Right: true, Yields: 5},
	{Name: "site", Head: "SITE", Value: func(r Row) any { return r.Spec.Site }, Yields: 5},
	{Name: "host", Head: "HOST", Value: func(r Row) any { return r.Host }, Yields: 5},
	{Name: "created_at", Old: []string{"Created"}, Head: "CREATED", Value: func(r Row) any { return r.CreatedAt }, Text: func(r Row) string { return r.ago(r.CreatedAt) }, Yields: 7, Sort: task.ByCreated},
	{Name: "started_at", Old: []string{"Started"}, Head: "STARTED", Value: func(r Row) any { return r.StartedAt }, Text: func(r Row) string { return r.ago(r.StartedAt) }, Yields: 5},
	{Name: "finished_at", Old: []string{"Ended"}, Head: "ENDED", Value: func(r Row) any { return r.FinishedAt }, Text: func(r Row) string { return r.ago(r.FinishedAt) }, Yields: 5, Sort: task.ByEnded},
	{Name: "retry_at", Head: "LIMIT ENDS", Value: func(r Row) any { return r.RetryAt }, Yields: 5},
	{Name: "duration_ms", Old: []string{"Time", "Duration"}, Head: "TIME", Value: func(r Row) any { return r.Elapsed(r.Now).Milliseconds() }, Text: Row.Time, Right: true, Yields: 4, Sort: task.ByDuration},
	{Name: "cost_usd", Old: []string{"Cost"}, Head: "COST", Value: func(r Row) any { return task.RoundUSD(r.CostUSD) }, Text: Row.Spent, Right: true, Yields: 8, Sort: task.ByCost},
	{Name: "cost_uncertain", Head: "UNCERTAIN", Value: func(r Row) any { return r.CostUncertain }, Yields: 5},
	{Name: "num_turns", Old: []string{"Turns"}, Head: "TURNS", Value: func(r Row) any { return r.turns() }, Text: Row.Turned, Right: true, Yields: 5},
	{Name: "input_tokens", Head: "INPUT", Value: func(r Row) any { return r.Usage.InputTokens }, Right: true, Yields: 5},
	{Name: "output_tokens", Head: "OUTPUT", Value: func(r Row) any { return r.Usage.OutputTokens }, Right: true, Yields: 5},
	{Name: "cache_creation_input_tokens", Head: "CACHED", Value: func(r Row) any { return r.Usage.CacheCreationTokens }, Right: true, Yields: 5},
	{Name: "cache_read_input_tokens", Head: "CACHE READ", Value: func(r Row) any { return r.Usage.CacheReadTokens }, Right: true, Yields: 5},
	{Name: "session_id", Old: []string{"Session"}, Head: "SESSION", Value: func(r Row) any { return r.SessionID }, Yields: 5},
	{Name: "model", Old: []string{"Model"}, Head: "MODEL", Value: func(r Row) any { return cmp.Or(r.Spec.Model, r.Model) }, Least: 8, Yields: 6},
	{Name: "working_dir", Old: []string{"Dir"}, Head: "DIRECTORY", Value: func(r Row) any { return r.Spec.WorkingDir }, Least: 12, Yields: 6},
	{Name: "prompt", Old: []string{"Prompt"}, Head: "PROMPT", Value: func(r Row) any { return r.PromptHead }, Least: 24, Yields: 9},
}

// Find is the field of a name, or of one that it had, in any case.
func Find(name string) (Field, bool) {
	is := func(of string) bool { return strings.EqualFold(of, name) }
	i := slices.IndexFunc(Fields, func(f Field) bool { return is(f.Name) || slices.ContainsFunc(f.Old, is) })
	if i < 0 {
		return Field{}, false
	}
	return Fields[i], true
}

func Names(fits func(Field) bool) (names []string) {
	for _, f := range Fields {
		if fits(f) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Cell is what a table shows, in one line.
func (f Field) Cell(r Row) string {
	if f.Text != nil {
		return OneLine(f.Text(r))
	}
	return OneLine(Plain(f.Value(r)))
}

// Fact is what the description of a single task shows: moments in full.
func (f Field) Fact(r Row) string {
	if at, is := f.Value(r).(time.Time); is && !at.IsZero() {
		return at.Local().Format(time.DateTime)
	}
	return f.Cell(r)
}

// Values are a task as a template knows it: by the fields' names and their old
// ones, the task's view under Task.
func Values(r Row) map[string]any {
	all := map[string]any{"Task": task.NewView(r.Task, r.Now)}
	for _, f := range Fields {
		all[f.Name] = f.Value(r)
		for _, old := range f.Old {
			all[old] = all[f.Name]
		}
	}
	return all
}

// Plain is a value as csv has it: times by RFC 3339, lists with spaces between.
func Plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, " ")
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		if !v.IsZero() {
			return v.Format(time.RFC3339Nano)
		}
	}
	return ""
}

func known(n int) any {
	if n == 0 {
		return ""
	}
	return n
}

func (r Row) exitCode() any {
	if r.ExitCode == nil {
		return ""
	}
	return *r.ExitCode
}

func (r Row) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return task.Ago(t, r.Now)
}

func (r Row) turns() int {
	if r.Progress != nil && r.Status.Live() {
		return r.NumTurns + r.Progress.Turns
	}
	return r.NumTurns
}

// Turned is how many turns there were, "" where there was none.
func (r Row) Turned() string { return Plain(known(r.turns())) }

// USD is what the task cost, with the running attempt's estimate.
func (r Row) USD() float64 { return r.CostUSD + r.Flying() }

// Estimated is the mark of a cost in which so much is not told by claude yet.
func Estimated(usd float64) string {
	if usd > 0 {
		return "~"
	}
	return ""
}

// Spent is USD as text, "" where nothing is known yet.
func (r Row) Spent() string {
	if usd := r.USD(); usd > 0 {
		return Estimated(r.Flying()) + Cost(usd)
	}
	return ""
}

// Time is how long the task has run, a running one in whole seconds: what would
// change ten times a second cannot be read.
func (r Row) Time() string {
	switch d := r.Elapsed(r.Now); {
	case r.Status.Live():
		return Clock(d)
	case d > 0:
		return Duration(d)
	}
	return ""
}

// Why is what is to be said of the task beside its status: above all why it failed,
// or what a queued one waits for beside its turn.
func (r Row) Why() string {
	switch {
	case Says(r.Task):
		return r.Message
	case r.Waiting.Words(r.Now) != "":
		return r.Waiting.Words(r.Now)
	case string(r.Reason) == string(r.Status):
		return ""
	}
	return string(r.Reason)
}

// Waits is what a queued task waits for: its turn, unless it is not yet among those
// that have one, and what else.
func (r Row) Waits() string {
	place := ""
	if r.QueuePosition > 0 {
		place = fmt.Sprintf("%d in the queue", r.QueuePosition)
	}
	return strings.Trim(place+", "+r.Why(), ", ")
}

// Title is what a person calls a task.
func (r Row) Title() string { return OneLine(cmp.Or(r.Spec.Name, r.PromptHead)) }
