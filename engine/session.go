package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"cctask/engine/task"
)

// goOn prepares the first attempt of a task that goes on with the session of
// another one, or with a fork of it. claude finds a session from any directory,
// so the working directory may differ; the other task's is the default.
func (e *Engine) goOn(s *task.Spec, first *task.Attempt) error {
	id, err := e.meant(s.ResumeTaskID, task.ToChange) // another one's session would be written into
	if err != nil {
		return err
	}
	t, err := e.store.Task(id)
	if err != nil {
		return err
	}
	all, err := e.store.Attempts(id)
	if err != nil {
		return err
	}
	s.ResumeTaskID = string(id)
	if s.WorkingDir == "" {
		if s.WorkingDir = t.Spec.WorkingDir; t.Worktree != nil && t.Worktree.State != task.TreeRemoved {
			s.WorkingDir = filepath.Join(t.Worktree.Dir, t.Worktree.Sub) // where the session has its files
		}
	}
	if s.Site == "" && t.Spec.Site != "" { // the session is there
		s.Site, s.Claude = t.Spec.Site, t.Spec.Claude
	}
	for _, a := range slices.Backward(all) {
		switch {
		case a.StartedAt.IsZero() && !a.Resumes:
			continue // claude never opened this one
		case s.Fork:
			first.ForkOf = a.SessionID
			return nil
		}
		first.SessionID, first.Resumes = a.SessionID, true
		return e.sessionFree(a.SessionID, "")
	}
	return task.Errorf(task.CodeConflict, "Wait until it has run, or start the task without resume_task_id.", "task %s never started, so it has no session to go on with", id)
}

// sessionFree refuses a session that a queued or live task other than self
// works in: claude would let two write into it.
func (e *Engine) sessionFree(session string, self task.ID) error {
	holder, err := e.store.Holder(session)
	if err != nil || holder == "" || holder == self {
		return err
	}
	return sessionBusy("task " + string(holder))
}

func sessionBusy(who string) error {
	return task.Errorf(task.CodeSessionBusy, "Wait for it, or cancel it first; a new task with fork goes on with a copy of the session.", "%s works in the same session", who)
}

// anew is the attempt that does a task from its beginning: in a new session, in
// a new fork, or, so that no context is lost without a word, in the session
// that the task was to go on with.
func anew(kind task.AttemptKind, first task.Attempt) task.Attempt {
	rec := task.Attempt{Kind: kind, SessionID: newSession(), ForkOf: first.ForkOf, PromptN: 1}
	if first.Resumes {
		rec.SessionID, rec.Resumes = first.SessionID, true
	}
	return rec
}

// goesOn queues an attempt whose claude has ended once more, in the commit of
// that end, where the end may pass or claude had not begun the session.
func (a *attempt) goesOn(t *task.Task, w *task.Write, lost, begun bool) error {
	end := &w.Attempts[0]
	if end.Reason == "" {
		return nil // most do, and need no look at the attempts before
	}
	all, err := a.e.store.Attempts(t.ID)
	if err != nil {
		return err
	}
	touched := func(b task.Attempt) bool {
		return b.SessionID == end.SessionID && b.N != end.N && !b.Untouched && (!b.StartedAt.IsZero() || b.StdoutBytes > 0)
	}
	rule := a.e.retries().Rule(t.Spec, end.Reason)
	if a.probed && rule.How == "" && rule.Attempts > 0 {
		rule.How = task.RetryGate // who only looked whether the account is usable again loses nothing
	}
	e := ending{
		cancelled: t.CancelRequested, lost: lost, resumes: end.Resumes, foreign: all[0].Resumes || end.ForkOf != "",
		touched: slices.ContainsFunc(all, touched), begun: begun, rule: rule, tried: countTried(all, end.Reason),
	}
	switch follows := next(e); follows {
	case again, anotherTry, startOver:
		return a.tryAgain(t, w, all, e, follows)
	case spent:
		end.Message += fmt.Sprintf("; it was tried again %s already", task.Times(e.inAll))
	case afresh:
		return a.afresh(t, w, all)
	case failForeign:
		end.Message = fmt.Sprintf("claude no longer has the session of task %s, or looks for it in another home; start a new task with what it needs to know in its prompt", t.Spec.ResumeTaskID)
	case failTouched:
		end.Message = "claude no longer has the session that this task worked in, or looks for it in another home; nothing was done"
	case over:
	}
	t.Message = end.Message
	return nil
}

// afresh begins a lost session in which nothing was done anew, or as a fork
// anew, if this owner still knows the environment. The prompt is that of the
// attempt that found it lost; the one that only says to go on means the one before it.
func (a *attempt) afresh(t *task.Task, w *task.Write, all []task.Attempt) error {
	if !a.hasEnv() {
		return nil
	}
	rec := anew(task.Fresh, all[0])
	for _, b := range slices.Backward(all) {
		if b.SessionID != w.Attempts[0].SessionID {
			continue
		}
		prompt, err := a.e.store.Prompt(t.ID, b.PromptN)
		if err != nil {
			return err
		}
		if rec.PromptN = b.PromptN; string(prompt) != continuePrompt {
			break
		}
	}
	t.Seq, w.Env = a.e.takeSeq(), a.env
	why := fmt.Sprintf("claude had not yet begun the session: started afresh with the prompt of attempt %d", rec.PromptN)
	if err := requeue(t, w, rec, why); err != nil {
		return err
	}
	t.Message = why
	return nil
}

// hasEnv tells whether another attempt could be started: the environment is gone of a
// task that an older version, which kept it for less long, had started.
func (a *attempt) hasEnv() bool {
	if a.env != nil {
		return true
	}
	_, err := a.e.store.Env(a.id)
	return err == nil || transient(err)
}

// tryAgain queues a task once more by itself, as next has decided.
func (a *attempt) tryAgain(t *task.Task, w *task.Write, all []task.Attempt, e ending, how follow) error {
	end := &w.Attempts[0]
	_, err := left(*t, append(all[:len(all)-1:len(all)-1], *end))
	if err == nil && !a.hasEnv() {
		err = errors.New("its environment is not kept any more")
	}
	if err != nil {
		end.Message += "; it does not go on by itself: " + err.Error()
		t.Message = end.Message
		return nil
	}
	rec := task.Attempt{Kind: task.Auto, SessionID: end.SessionID, Resumes: true, PromptN: t.Attempt + 1}
	switch how {
	case startOver:
		rec = anew(task.Auto, all[0])
	case anotherTry:
		rec = task.Attempt{Kind: task.Auto, SessionID: newSession(), ForkOf: end.ForkOf, PromptN: end.PromptN}
	case again:
		w.Prompt = &task.Blob{ID: t.ID, Attempt: rec.PromptN, Data: []byte(continuePrompt)}
	case over, spent, afresh, failForeign, failTouched:
	}
	why := fmt.Sprintf("%s; goes on by itself, %d of at most %d times", end.Message, e.inAll+1, e.rule.Total)
	atGate := e.rule.How == task.RetryGate
	if atGate {
		why = end.Message + "; goes on when its account's gate opens"
	}
	t.Seq, w.Env = a.e.takeSeq(), a.env
	if err := requeue(t, w, rec, why); err != nil {
		return err
	}
	if pause := e.rule.Pause(e.inAll, a.e.random()); pause > 0 && !atGate {
		t.NotBefore = w.At.Add(pause).Round(0) // by the clock on the wall, also while the machine sleeps
	}
	t.Message = why
	return nil
}
