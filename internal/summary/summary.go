// Package summary counts what became of many tasks: numbers and ids, no words. It may
// import engine/task, and must never know who reads them.
package summary

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"cctask/engine/task"
)

// Summary is what became of many tasks, for who was away meanwhile.
type Summary struct {
	Tasks    int           `json:"tasks"`
	Statuses []StatusCount `json:"statuses"` // those that occur, in the order of a task's life
	// From is the first submission, To the last end, or now while a task is under way.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`

	CostUSD       float64 `json:"cost_usd"`
	CostUncertain bool    `json:"cost_uncertain,omitempty"`
	DurationMS    int64   `json:"duration_ms"` // with a process, all tasks together
	NumTurns      int     `json:"num_turns"`

	Queue    Queue     `json:"queue"`
	Retries  []Retries `json:"retries,omitempty"`  // by what had ended the attempt before, the most frequent first
	Failures []Failure `json:"failures,omitempty"` // by cause, the most frequent first
	Limits   []Limit   `json:"limits,omitempty"`
}

type StatusCount struct {
	Status  task.Status `json:"status"`
	Tasks   int         `json:"tasks"`
	CostUSD float64     `json:"cost_usd"`
}

// Queue is the time that tasks were queued, all stays of a task together.
type Queue struct {
	TotalMS   int64   `json:"total_ms"`
	LongestMS int64   `json:"longest_ms"`
	Longest   task.ID `json:"longest_task_id,omitempty"`
	// Waited are the tasks that waited for the ends of others or for their start time; the
	// rest of the time was for their turn, or for what held them up together.
	Waited []Waited `json:"waited,omitempty"`
	// Waiting are the tasks that wait now, by what for.
	Waiting []Waiting `json:"waiting,omitempty"`
}

// Waited is how long tasks waited for one reason.
type Waited struct {
	For     task.WaitingFor `json:"waiting_for"`
	TotalMS int64           `json:"total_ms"`
	Tasks   []task.ID       `json:"task_ids"`
	// The one that waited longest, and for which task.
	LongestMS int64   `json:"longest_ms"`
	Longest   task.ID `json:"longest_task_id"`
	On        task.ID `json:"longest_waited_on,omitempty"`
}

// Waiting are the queued tasks that have one reason to wait.
type Waiting struct {
	For   task.WaitingFor `json:"waiting_for"`
	Until time.Time       `json:"waiting_until,omitzero"` // the latest that is known
	Tasks []task.ID       `json:"task_ids"`
}

// Retries are the further attempts that followed attempts with one cause of their end.
type Retries struct {
	Reason    task.FailureReason `json:"failure_reason"`
	Attempts  int                `json:"attempts"`
	Tasks     []task.ID          `json:"task_ids"`
	Completed int                `json:"completed"` // of Tasks
}

// Failure are the tasks that ended otherwise than completed for one reason, and the next step.
type Failure struct {
	Reason task.FailureReason `json:"failure_reason"`
	Tasks  []task.ID          `json:"task_ids"`
	Next   string             `json:"next"`
}

type Limit struct {
	Reason   task.FailureReason `json:"failure_reason"`
	Attempts int                `json:"attempts"`
	RetryAt  time.Time          `json:"retry_at,omitzero"` // the latest end of the limit that is known
}

// limits are the reasons by which the API turns its callers away for a time.
var limits = []task.FailureReason{task.ReasonUsageLimit, task.ReasonRateLimited, task.ReasonOverloaded}

// Of sums up tasks as of now. A task with several attempts needs them in
// its Attempts, or they count by their number alone.
func Of(tasks []task.Task, now time.Time) Summary {
	s := Summary{Tasks: len(tasks), Statuses: []StatusCount{}}
	for _, st := range task.Statuses {
		c := StatusCount{Status: st}
		for _, t := range tasks {
			if t.Status.Public() == st {
				c.Tasks, c.CostUSD = c.Tasks+1, task.RoundUSD(c.CostUSD+t.CostUSD+t.Flying())
			}
		}
		if c.Tasks > 0 {
			s.Statuses = append(s.Statuses, c)
		}
	}
	ended := map[task.ID]time.Time{}
	for _, t := range tasks {
		ended[t.ID] = t.FinishedAt
	}
	for _, t := range tasks {
		s.sum(t, now)
		s.queue(t, ended, now)
		s.attempts(t)
		if t.Status.Ended() && t.Status != task.Completed {
			f := pick(&s.Failures, Failure{Reason: cmp.Or(t.Reason, task.ReasonUnknown)}, func(f Failure) any { return f.Reason })
			f.Tasks, f.Next = append(f.Tasks, t.ID), f.Reason.Hint()
		}
	}
	slices.SortStableFunc(s.Failures, func(a, b Failure) int { return len(b.Tasks) - len(a.Tasks) })
	slices.SortStableFunc(s.Retries, func(a, b Retries) int { return b.Attempts - a.Attempts })
	return s
}

// Source is where tasks are read.
type Source interface {
	List(ctx context.Context, f task.Filter) (task.Page, error)
	Get(ctx context.Context, ref string) (task.Task, error)
}

// Read reads all tasks that fit, oldest first, those of several attempts with them.
func Read(ctx context.Context, svc Source, f task.Filter) (tasks []task.Task, err error) {
	f.Reverse, f.Limit = true, 1000
	for {
		page, err := svc.List(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tasks {
			if t.Attempt > 1 {
				whole, err := svc.Get(ctx, string(t.ID))
				if errors.Is(err, task.ErrNotFound) {
					continue // removed meanwhile
				}
				if err != nil {
					return nil, err
				}
				t.Attempts = whole.Attempts
			}
			tasks = append(tasks, t)
		}
		if f.Cursor = page.NextCursor; f.Cursor == "" {
			return tasks, nil
		}
	}
}

// pick is the entry of a list with the key of the new one, which is added where there is none.
func pick[T any](list *[]T, entry T, key func(T) any) *T {
	at := slices.IndexFunc(*list, func(e T) bool { return key(e) == key(entry) })
	if at < 0 {
		at, *list = len(*list), append(*list, entry)
	}
	return &(*list)[at]
}

func (s *Summary) sum(t task.Task, now time.Time) {
	s.CostUSD = task.RoundUSD(s.CostUSD + t.CostUSD + t.Flying())
	s.CostUncertain = s.CostUncertain || t.CostUncertain
	s.DurationMS += t.Elapsed(now).Milliseconds()
	s.NumTurns += t.NumTurns
	if t.Progress != nil && t.Status.Live() {
		s.NumTurns += t.Progress.Turns
	}
	if s.From.IsZero() || t.CreatedAt.Before(s.From) {
		s.From = t.CreatedAt
	}
	end := t.FinishedAt
	if !t.Status.Ended() {
		end = now
	}
	if end.After(s.To) {
		s.To = end
	}
}

func (s *Summary) queue(t task.Task, ended map[task.ID]time.Time, now time.Time) {
	var waited, forTasks, forStart time.Duration
	var on task.ID
	for i, c := range t.History {
		if c.To != task.Queued {
			continue
		}
		left := now
		if i+1 < len(t.History) {
			left = t.History[i+1].At
		}
		waited += max(0, left.Sub(c.At)) // the clock may have been set back
		last, free := lastNeed(t, ended)
		if free = earlier(free, left); free.After(c.At) {
			forTasks, on = forTasks+free.Sub(c.At), last
			c.At = free
		}
		// Its start time is that of the last stay.
		if at := earlier(t.NotBefore, left); i+2 >= len(t.History) && at.After(c.At) {
			forStart += at.Sub(c.At)
		}
	}
	s.waited(task.WaitDependency, t.ID, on, forTasks)
	s.waited(task.WaitStartAt, t.ID, "", forStart)
	ms := waited.Milliseconds()
	s.Queue.TotalMS += ms
	if ms > s.Queue.LongestMS {
		s.Queue.LongestMS, s.Queue.Longest = ms, t.ID
	}
	if t.Status == task.Queued && t.Waiting.For != "" {
		w := pick(&s.Queue.Waiting, Waiting{For: t.Waiting.For}, func(w Waiting) any { return w.For })
		w.Tasks = append(w.Tasks, t.ID)
		if t.Waiting.Until.After(w.Until) {
			w.Until = t.Waiting.Until
		}
	}
}

// lastNeed is the task that t waited for longest, and when that ended.
func lastNeed(t task.Task, ended map[task.ID]time.Time) (last task.ID, at time.Time) {
	for _, text := range t.Spec.After {
		id := task.ID(task.ParseNeed(text).Ref)
		if end := ended[id]; end.After(at) {
			last, at = id, end
		}
	}
	return last, at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (s *Summary) waited(why task.WaitingFor, id, on task.ID, d time.Duration) {
	ms := d.Milliseconds()
	if ms <= 0 {
		return
	}
	w := pick(&s.Queue.Waited, Waited{For: why}, func(w Waited) any { return w.For })
	w.Tasks, w.TotalMS = append(w.Tasks, id), w.TotalMS+ms
	if ms > w.LongestMS {
		w.LongestMS, w.Longest, w.On = ms, id, on
	}
}

// attempts counts what ended the attempts of t, and what followed.
func (s *Summary) attempts(t task.Task) {
	all := t.Attempts
	if len(all) == 0 { // a lone attempt ended as its task did
		all = []task.Attempt{{Reason: t.Reason, RetryAt: t.RetryAt}}
	}
	for i, a := range all {
		if slices.Contains(limits, a.Reason) {
			l := pick(&s.Limits, Limit{Reason: a.Reason}, func(l Limit) any { return l.Reason })
			l.Attempts++
			if a.RetryAt.After(l.RetryAt) {
				l.RetryAt = a.RetryAt
			}
		}
		if i+1 == len(all) {
			continue
		}
		r := pick(&s.Retries, Retries{Reason: a.Reason}, func(r Retries) any { return r.Reason })
		r.Attempts++
		if !slices.Contains(r.Tasks, t.ID) {
			r.Tasks = append(r.Tasks, t.ID)
			if t.Status == task.Completed {
				r.Completed++
			}
		}
	}
}
