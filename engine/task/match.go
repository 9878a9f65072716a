package task

import (
	"fmt"
	"strings"
	"time"
)

// Match is what a reference fits: one task by its whole id, else whoever bears
// the name or has the part in the id.
type Match struct {
	Ref   string      `json:"ref"`
	ID    ID          `json:"id"`    // for those who only read; "": a part of several ids
	Count int         `json:"count"` // of all that it fits; at least so many, where it is a part of an id
	Live  int         `json:"live"`  // how many have not ended, where all bear the name
	Tasks []Candidate `json:"tasks"` // the newest of those that live, then of the others
}

// Candidate is one of the tasks that a reference fits.
type Candidate struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name,omitempty"`
	Status    Status    `json:"status"`
	CreatedAt time.Time `json:"created_at"`
}

// Use says what a reference is for.
type Use int

// The uses. A wrong guess costs a reader a second look, and whoever changes a
// task what it was about.
const (
	ToRead Use = iota
	ToCancel
	ToChange
)

// Only is the match of a reference that cannot mean another task.
func Only(id ID) Match { return Match{Ref: string(id), ID: id, Count: 1} }

// Choose gives the task that is meant. note says that there are others.
// ErrAmbiguous: it could be another one, which must not be changed.
func (m Match) Choose(use Use, now time.Time) (id ID, note string, err error) {
	if m.Count == 1 {
		return m.ID, "", nil
	}
	fits := fmt.Sprintf("%q fits %d tasks", m.Ref, m.Count)
	if m.Count > len(m.Tasks) {
		fits = fmt.Sprintf("%q fits more than %d tasks", m.Ref, len(m.Tasks))
	}
	hint, newest := "Give more characters of the id: those at its end differ the soonest.", ""
	var list []string
	for _, c := range m.Tasks {
		text := fmt.Sprintf("%s (%s, %s)", c.ID, c.Status.Public(), Ago(c.CreatedAt, now))
		if c.Name != "" {
			text = fmt.Sprintf("%s (%s, %s, %s)", c.ID, c.Name, c.Status.Public(), Ago(c.CreatedAt, now))
		}
		if list = append(list, text); c.Name == m.Ref {
			hint, newest = "Give the id of the one that is meant.", ", the newest of that name"
		}
	}
	switch {
	case use == ToRead && m.ID != "":
		return m.ID, fmt.Sprintf("%s; this is %s%s", fits, m.ID, newest), nil
	case use == ToCancel && m.Live == 1:
		return m.Tasks[0].ID, fmt.Sprintf("%s; %s is the only one that has not ended", fits, m.Tasks[0].ID), nil
	case m.Count > len(m.Tasks):
		list = append(list, "and more")
	}
	return "", "", &Error{Code: CodeAmbiguous, Message: fits + ": " + strings.Join(list, ", "), Hint: hint}
}

// Fits is what the reference fits by which the task was asked for.
func (t Task) Fits() Match {
	if t.Match == nil {
		return Only(t.ID)
	}
	return *t.Match
}

// Ago writes how long something is past.
func Ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}
