package task

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// RetryHow is how another attempt is made by itself.
type RetryHow string

// The ways. "" is none: the end stands.
const (
	RetrySame  RetryHow = "the same session"
	RetryFresh RetryHow = "a new session" // with the prompt from the beginning
	// RetryGate goes on in the same session once the account's gate is open. It counts as
	// no attempt.
	RetryGate RetryHow = "the same session, when the account's gate opens"
)

// RetryRule says what follows an end of one reason.
type RetryRule struct {
	How       RetryHow
	Attempts  int           // at most so many in a row for this reason
	Total     int           // and so many for all reasons together
	Base, Max time.Duration // the pause grows from Base to Max, with full jitter
	// Closes tells that the account's gate is closed, since the next task of it would end
	// as this one.
	Closes bool
}

// What holds where no settings file says otherwise.
const (
	retryAttempts = 3
	retryBase     = 10 * time.Second
	retryMax      = 10 * time.Minute
)

// retryTable is what follows an end by its reason. Of a reason that is not here, and of
// one without a How, the end stands.
var retryTable = map[FailureReason]RetryRule{
	ReasonOverloaded:      {How: RetrySame},
	ReasonNetwork:         {How: RetrySame},
	ReasonRateLimited:     {How: RetrySame},
	ReasonInterrupted:     {How: RetrySame},
	ReasonStartupTimeout:  {How: RetrySame},
	ReasonStalled:         {How: RetrySame},
	ReasonContextOverflow: {How: RetryFresh, Attempts: 1},
	ReasonUsageLimit:      {How: RetryGate, Closes: true},
	ReasonAuth:            {Closes: true},
	ReasonBilling:         {Closes: true},
}

// neverRetried are ends that somebody wanted, and those that another attempt cannot
// change, or has a rule of its own for.
var neverRetried = []FailureReason{
	ReasonCancelled, ReasonDependency, ReasonPolicy, ReasonSpawnFailed, ReasonSessionLost, ReasonUsageLimit, ReasonAuth, ReasonBilling,
}

// Retriable are the reasons after which somebody may want another attempt.
func Retriable() (names []string) {
	for _, r := range Reasons {
		if !slices.Contains(neverRetried, r) {
			names = append(names, string(r))
		}
	}
	return names
}

// RetrySet is what a settings file says of one reason in [retry.REASON], or of all in
// [retry].
type RetrySet struct {
	Attempts                *int
	BaseSeconds, MaxSeconds float64 // 0: not set
}

// RetryRows are the keys of [retry] and of its tables.
var RetryRows = []Row[RetrySet]{
	{Name: "attempts", Kind: KindInteger, Most: 100, at: func(s *RetrySet) any { return &s.Attempts }},
	{Name: "base", Kind: KindSeconds, Most: mostSeconds, at: func(s *RetrySet) any { return &s.BaseSeconds }},
	{Name: "max", Kind: KindSeconds, Most: mostSeconds, at: func(s *RetrySet) any { return &s.MaxSeconds }},
}

// RetryPolicy is [retry] of a settings file: what it sets for a reason, and for all
// as "".
type RetryPolicy map[FailureReason]RetrySet

// Rule is what follows an end of reason r of a task.
func (p RetryPolicy) Rule(s Spec, r FailureReason) RetryRule {
	all, own := p[""], p[r]
	rule := retryTable[r]
	rule.Base = lastSet(retryBase, all.BaseSeconds, own.BaseSeconds)
	rule.Max = max(lastSet(retryMax, all.MaxSeconds, own.MaxSeconds), rule.Base)
	rule.Total = max(pick(retryAttempts, all.Attempts), pick(0, own.Attempts))
	if s.Retries != nil {
		rule.Total = *s.Retries
	}
	rule.Attempts = min(pick(cmp.Or(rule.Attempts, rule.Total), own.Attempts), rule.Total)
	switch asked := slices.Contains(s.RetryOn, string(r)); {
	case r == ReasonInterrupted && s.OnInterrupt == OnInterruptResume:
		// That says so itself: at once, and also where no other retries are wanted.
		rule.Attempts = max(rule.Attempts, MaxAutoResumes)
		rule.Total, rule.Base, rule.Max = max(rule.Total, rule.Attempts), 0, 0
	case slices.Contains(neverRetried, r):
	case len(s.RetryOn) > 0 && !asked:
		rule.How = ""
	case rule.How == "" && (asked || own.Attempts != nil):
		rule.How = RetrySame
	}
	if rule.Attempts == 0 {
		rule.How = "" // every end stands, that by a usage limit too
	}
	return rule
}

// ClosesGate tells whether an end of this reason closes its account's gate.
func (r FailureReason) ClosesGate() bool { return retryTable[r].Closes }

// May tells whether any end of a task could be followed by another attempt.
func (p RetryPolicy) May(s Spec) bool {
	return slices.ContainsFunc(Reasons, func(r FailureReason) bool { return p.Rule(s, r).How != "" })
}

// Pause is how long the n-th attempt in a row waits, from 0 on; random is from 0 to 1.
// The jitter is full, so that those which failed together do not come back together:
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
func (r RetryRule) Pause(n int, random float64) time.Duration {
	longest := r.Base
	for range n {
		if longest = min(2*longest, r.Max); longest == r.Max {
			break
		}
	}
	return time.Duration(random * float64(longest))
}

// Words say the rule to people.
func (r RetryRule) Words() string {
	switch {
	case r.How == RetryGate:
		return "in " + string(r.How) + "; it counts as no attempt"
	case r.How == "" && r.Closes:
		return "no; the account's gate closes"
	case r.How == "":
		return "no"
	}
	return fmt.Sprintf("%s, in %s, after up to %s at first and up to %s later", Times(r.Attempts), r.How, SpanText(r.Base), SpanText(r.Max))
}

// Times says a number of times to people.
func Times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func pick(otherwise int, set *int) int {
	if set != nil {
		return *set
	}
	return otherwise
}

// lastSet is the last of several times that is set.
func lastSet(otherwise time.Duration, seconds ...float64) time.Duration {
	for _, s := range seconds {
		if s > 0 {
			otherwise = Seconds(s).Duration()
		}
	}
	return otherwise
}
