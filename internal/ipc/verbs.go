package ipc

import (
	"context"
	"maps"
	"slices"

	"cctask/engine"
	"cctask/engine/task"
)

// verb is a question to the owner, said once for both sides. waits tells that the
// answer may take as long as a task: whoever asked may have left before.
type verb[In, Out any] struct {
	name  string
	waits bool
}

var (
	helloVerb  = verb[none, Hello]{name: "hello"}
	policyVerb = verb[none, task.Policy]{name: "policy"}
	submitVerb = verb[submitRequest, task.Task]{name: "submit"}
	batchVerb  = verb[batchRequest, task.Page]{name: "batch"}
	getVerb    = verb[refRequest, task.Task]{name: "get"} // show, as one reads it by hand
	showVerb   = verb[task.Look, task.Shown]{name: "show"}
	listVerb   = verb[task.Filter, task.Page]{name: "list"}
	outputVerb = verb[engine.OutputQuery, task.Output]{name: "output"}
	pageVerb   = verb[task.DumpQuery, task.DumpPage]{name: "page"}
	streamVerb = verb[streamRequest, blob]{name: "stream"}
	cancelVerb = verb[refRequest, task.Task]{name: "cancel", waits: true}
	resumeVerb = verb[againRequest, task.Task]{name: "resume"}
	retryVerb  = verb[againRequest, task.Task]{name: "retry"}
	editVerb   = verb[engine.Edit, task.Task]{name: "edit"}
	groupsVerb = verb[groupsRequest, groupsAnswer]{name: "groups"}
	gatesVerb  = verb[gatesRequest, gatesAnswer]{name: "gates"}
	budgetVerb = verb[none, budgetsAnswer]{name: "budgets"}
	removeVerb = verb[refRequest, none]{name: "remove", waits: true}
	lendVerb   = verb[lendRequest, none]{name: "lend", waits: true}
	endedVerb  = verb[endedRequest, none]{name: "ended"}
	stopVerb   = verb[stopRequest, none]{name: "stop", waits: true}
)

// eventsVerb has many answers.
const eventsVerb = "events"

// Verbs are the names of all verbs that have one answer.
func Verbs() []string { return slices.Sorted(maps.Keys((&server{}).serves())) }

// serves are the answers of an owner to all verbs but eventsVerb.
func (s *server) serves() map[string]handler {
	b := s.b
	list := map[string]handler{}
	on(list, helloVerb, func(c context.Context, _ none) (Hello, error) {
		h := s.hello()
		h.Inside = b.Inside(c, nil)
		return h, nil
	})
	on(list, policyVerb, func(context.Context, none) (task.Policy, error) { return b.Policy() })
	on(list, submitVerb, func(c context.Context, r submitRequest) (task.Task, error) { return b.Submit(c, r.submission()) })
	on(list, batchVerb, func(c context.Context, r batchRequest) (out task.Page, err error) {
		out.Tasks, err = b.SubmitAll(c, r.batch())
		return out, err
	})
	on(list, getVerb, func(c context.Context, r refRequest) (task.Task, error) { return b.Get(c, r.Ref) })
	on(list, showVerb, func(c context.Context, l task.Look) (task.Shown, error) { return b.Show(c, l) })
	on(list, listVerb, func(c context.Context, f task.Filter) (task.Page, error) { return b.List(c, f) })
	on(list, outputVerb, func(c context.Context, q engine.OutputQuery) (task.Output, error) { return b.Output(c, q) })
	on(list, pageVerb, func(_ context.Context, q task.DumpQuery) (task.DumpPage, error) { return b.Page(q) })
	on(list, streamVerb, func(_ context.Context, r streamRequest) (out blob, err error) {
		out.Data, err = b.Stream(r.ID, r.Attempt, r.Stream, r.Offset, min(r.Limit, engine.MaxOutputPiece))
		return out, err
	})
	on(list, cancelVerb, func(c context.Context, r refRequest) (task.Task, error) { return b.Cancel(c, r.Ref) })
	on(list, resumeVerb, func(c context.Context, r againRequest) (task.Task, error) { return b.Resume(c, r.again()) })
	on(list, retryVerb, func(c context.Context, r againRequest) (task.Task, error) { return b.Retry(c, r.again()) })
	on(list, editVerb, func(c context.Context, r engine.Edit) (task.Task, error) { return b.Edit(c, r) })
	on(list, groupsVerb, func(c context.Context, r groupsRequest) (out groupsAnswer, err error) {
		out.Groups, err = b.Groups(c, r.Change)
		return out, err
	})
	on(list, gatesVerb, func(c context.Context, r gatesRequest) (out gatesAnswer, err error) {
		out.Gates, err = b.Gates(c, r.Open)
		return out, err
	})
	on(list, budgetVerb, func(c context.Context, _ none) (out budgetsAnswer, err error) {
		out.Budgets, err = b.Budgets(c)
		return out, err
	})
	on(list, removeVerb, func(c context.Context, r refRequest) (none, error) { return none{}, b.Remove(c, r.Ref, r.Force) })
	on(list, lendVerb, func(c context.Context, r lendRequest) (none, error) {
		lent, cancel := s.untilCut(c)
		defer cancel()
		err := b.Lent(lent, r.Within, r.Refs)
		if lent.Err() != nil && c.Err() == nil {
			err = closingError()
		}
		return none{}, err
	})
	on(list, endedVerb, func(_ context.Context, r endedRequest) (none, error) { b.Ended(r.Run); return none{}, nil })
	on(list, stopVerb, s.stop)
	return list
}
