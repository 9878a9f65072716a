// Package report makes one HTML page of many tasks: a timeline, totals, costs,
// what did not complete, and each task's prompt and answer. The page needs
// nothing but a browser: its style, script and data are in it, and its policy
// forbids the network. All text of tasks is hostile: it travels as JSON, and the
// script makes text nodes of it. The package may import engine/task, and must
// never know where tasks come from or where the page goes.
package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"sync"
	"time"

	"cctask/engine/task"
)

// MaxPage is what a page of up to 10,000 tasks stays below, in bytes: texts are
// cut until it does.
const MaxPage = 5_000_000

// leastTexts is what the texts may take however much else there is.
const leastTexts = 500_000

// Entry is a task as the page shows it.
type Entry struct {
	Task    task.Task // with its attempts and its answer
	Prompts []Prompt  // the first attempt's, and those that later ones brought
}

// Prompt is a prompt, or its beginning: MaxText bytes are enough.
type Prompt struct {
	Attempt int
	Text    string
	Bytes   int64 // of all of it
}

type About struct {
	Version   string // of cctask
	Selection string // how the tasks were chosen; "" is all of them
	More      bool   // older ones were left out
}

type Report struct {
	texts texts
	words map[string]int
	data  data
	now   time.Time
}

func New(now time.Time) *Report {
	return &Report{
		texts: newTexts(), words: map[string]int{}, now: now,
		data: data{Now: now.UnixMilli(), Longest: []int{}, Ends: []ended{}, Parts: []part{}, Words: []*text{}, Tasks: []*row{}, Totals: totals{Statuses: []count{}}},
	}
}

// Newest turns round a report whose tasks were added oldest first, leaves so many of
// them, and tells whether there were more.
func (r *Report) Newest(most int) (more bool) {
	d := &r.data
	slices.Reverse(d.Tasks)
	if len(d.Tasks) <= most {
		return false
	}
	d.Tasks = d.Tasks[:most]
	kept := slices.Clone(d.Words)
	for _, x := range d.Tasks {
		kept = append(kept, x.Name, x.Message, x.Answer)
		for _, b := range x.Attempts {
			kept = append(kept, b.Message, b.Prompt)
		}
	}
	r.texts.keep(kept)
	return true
}

func (r *Report) Len() int { return len(r.data.Tasks) }

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var page = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageHTML)) })

// Write writes the page. Nothing can be added afterwards.
func (r *Report) Write(w io.Writer, about About) error {
	r.data.finish(about)
	whole, err := json.Marshal(&r.data)
	if err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	rest := len(whole) - r.texts.size + len(pageHTML) + len(pageCSS) + len(pageJS) + 1000
	r.texts.shrink(max(leastTexts, MaxPage-rest))
	r.data.TextLimit = r.texts.shown()
	if whole, err = json.Marshal(&r.data); err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	err = page().Execute(w, map[string]any{
		// json.Marshal leaves no character in it that could end the script.
		"CSS": template.CSS(pageCSS), "JS": template.JS(pageJS), "Data": template.JS(whole),
		// The hashes admit these two and nothing that a text might smuggle in.
		"Policy": fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'", hash(pageCSS), hash(pageJS)),
	})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (r *Report) Add(e Entry) {
	t := e.Task
	x := row{
		ID: t.ID, Status: t.Status.Public(), Name: r.text(t.Spec.Name), Message: r.text(t.Message), Reason: t.Reason,
		Dir: r.word(t.Spec.WorkingDir), Model: r.word(t.Model), Created: ms(t.CreatedAt), Finished: ms(t.FinishedAt),
		USD: task.RoundUSD(t.CostUSD + t.Flying()), Uncertain: t.CostUncertain || t.Flying() > 0, Turns: t.NumTurns, usage: t.Usage,
		Elapsed: t.Elapsed(r.now).Milliseconds(),
	}
	for _, need := range t.Spec.After {
		x.after = append(x.after, task.ID(task.ParseNeed(need).Ref))
	}
	if t.Model == "" {
		x.Model = r.word(t.Spec.Model)
	}
	for _, l := range t.Spec.Labels {
		x.Labels = append(x.Labels, r.word(l))
	}
	if t.Result != nil {
		x.Answer = r.texts.add(*t.Result, t.ResultBytes)
	}
	for _, a := range t.Attempts {
		b := bar{N: a.N, Kind: a.Kind, Status: a.Status.Public(), Reason: a.Reason, Start: ms(a.StartedAt), End: ms(a.FinishedAt), USD: task.RoundUSD(a.CostUSD)}
		if a.N == t.Attempt {
			b.USD = task.RoundUSD(b.USD + t.Flying())
		}
		if len(t.Attempts) > 1 { // else it is the task's
			b.Message = r.text(a.Message)
		}
		for _, p := range e.Prompts {
			if p.Attempt == a.N {
				b.Prompt = r.texts.add(p.Text, p.Bytes)
			}
		}
		x.Attempts = append(x.Attempts, &b)
	}
	r.data.Tasks = append(r.data.Tasks, &x)
}

func (r *Report) text(s string) *text { return r.texts.add(s, int64(len(s))) }

// word keeps what many tasks have in common once, and returns its place from 1.
func (r *Report) word(s string) int {
	if s == "" {
		return 0
	}
	if _, ok := r.words[s]; !ok {
		r.data.Words = append(r.data.Words, r.text(s))
		r.words[s] = len(r.data.Words)
	}
	return r.words[s]
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
