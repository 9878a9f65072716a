package task

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Budgets are what may be spent: [budgets] of a settings file. In US dollars; 0: without
// a bound.
type Budgets struct {
	Day      float64             // in a day of the owner's clock
	Root     float64             // by a task with all that are below it
	Labels   map[string]*float64 // by all tasks that ever had a label
	OnBudget string              // what becomes of running tasks: OnBudgetHold, OnBudgetCancel
}

// What becomes of the running tasks of a spent budget: they finish, or they are stopped.
const (
	OnBudgetHold   = "hold"
	OnBudgetCancel = "cancel"
)

// A scope is what a budget is for: ScopeDay, or a prefix with a label or a root's id.
const (
	ScopeDay   = "day"
	labelScope = "label:"
	rootScope  = "root:"
)

const mostUSD = 1e6

// BudgetRows are the keys of [budgets], where the file has these.
func BudgetRows(keys []string) []Row[Budgets] {
	rows := []Row[Budgets]{
		{Name: ScopeDay, Kind: KindNumber, Most: mostUSD, at: func(b *Budgets) any { return &b.Day }},
		{Name: "root", Kind: KindNumber, Most: mostUSD, at: func(b *Budgets) any { return &b.Root }},
		{Name: "on_budget", Words: []string{OnBudgetHold, OnBudgetCancel}, at: func(b *Budgets) any { return &b.OnBudget }},
	}
	for _, key := range keys {
		label, is := strings.CutPrefix(key, labelScope)
		if !is {
			continue
		}
		rows = append(rows, Row[Budgets]{Name: key, Kind: KindNumber, Most: mostUSD, at: func(b *Budgets) any {
			if b.Labels == nil {
				b.Labels = map[string]*float64{}
			}
			if b.Labels[label] == nil {
				b.Labels[label] = new(float64)
			}
			return b.Labels[label]
		}})
	}
	return rows
}

// Of is the budget of a scope; 0: none.
func (b Budgets) Of(scope string) float64 {
	if label, is := strings.CutPrefix(scope, labelScope); is && b.Labels[label] != nil {
		return *b.Labels[label]
	}
	switch {
	case scope == ScopeDay:
		return b.Day
	case strings.HasPrefix(scope, rootScope):
		return b.Root
	}
	return 0
}

// Scopes are those whose money a task with these labels below that root spends, beside
// the day's, as far as they have budgets.
func (b Budgets) Scopes(labels []string, root ID) (list []string) {
	if b.Root > 0 {
		list = append(list, RootScope(root))
	}
	for _, l := range labels {
		if b.Labels[l] != nil {
			list = append(list, LabelScope(l))
		}
	}
	return list
}

// LabelScope is that of all tasks with a label.
func LabelScope(label string) string { return labelScope + label }

// RootScope is that of a task with all that are below it.
func RootScope(root ID) string { return rootScope + string(root) }

// Spend is money that a scope has spent for good. Of a day it is that of the day of At.
type Spend struct {
	Scope string    `json:"scope"`
	USD   float64   `json:"usd"`
	At    time.Time `json:"at"`
}

// Spends are what an attempt's end adds to the sums that are kept: of the day and of
// each label, whether or not they have a budget yet. That of a root is the sum of its
// tasks.
func Spends(t *Task, usd float64, at time.Time) (list []Spend) {
	if usd <= 0 {
		return nil
	}
	list = append(list, Spend{ScopeDay, usd, at})
	for _, l := range t.Spec.Labels {
		list = append(list, Spend{LabelScope(l), usd, at})
	}
	return list
}

// Day is the day whose budget counts at a moment, where that of another day counted
// last, and whether it begins anew. A clock that is set back gives no money back: a day
// that comes again has what is spent already, and one that had begun too early goes on.
func Day(last string, now time.Time) (day string, begins bool) {
	day = now.Format(time.DateOnly)
	if last == now.AddDate(0, 0, 1).Format(time.DateOnly) {
		return last, false
	}
	return day, day > last
}

// Budget is where a budget stands.
type Budget struct {
	Scope    string    `json:"scope"`
	LimitUSD float64   `json:"limit_usd"`
	SpentUSD float64   `json:"spent_usd"`          // by attempts that have ended
	LiveUSD  float64   `json:"live_usd,omitempty"` // by running ones, an estimate
	Until    time.Time `json:"until,omitzero"`     // when it begins anew
	OnBudget string    `json:"on_budget"`          // what becomes of running tasks once it is spent
}

// Share is how much of it is used up; 1: all.
func (b Budget) Share() float64 { return (b.SpentUSD + b.LiveUSD) / b.LimitUSD }

// Percent is the same in whole percents, rounded down: 100 is a spent one.
func (b Budget) Percent() int { return int(100*b.Share() + 1e-6) }

// MarshalJSON adds what a reader would have to work out.
func (b Budget) MarshalJSON() ([]byte, error) {
	type plain Budget
	return json.Marshal(struct {
		plain
		Percent int `json:"percent"`
	}{plain(b), b.Percent()})
}

// Left is what may still be spent.
func (b Budget) Left() float64 { return RoundUSD(b.LimitUSD - b.SpentUSD - b.LiveUSD) }

// Words say how far it is used up, and how to raise it: "budget day: ~$16.80 of $20".
func (b Budget) Words() string {
	mark := ""
	if b.LiveUSD > 0 {
		mark = "~"
	}
	return fmt.Sprintf("budget %s: %s$%v of $%v", b.Scope, mark, RoundUSD(b.SpentUSD+b.LiveUSD), b.LimitUSD)
}

// RaiseBudget says what a person does about a spent one.
const RaiseBudget = "raise it under [budgets] in the settings file"
