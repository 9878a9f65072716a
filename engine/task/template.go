package task

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Reference is a place in a prompt where something of another task is filled in:
// {{tasks.REF.result}}, .structured with a path into it, .id or .status.
type Reference struct {
	Ref  string
	What string
	Path []string // of structured
}

// What a reference may take.
const (
	TakesResult     = "result"
	TakesStructured = "structured"
	TakesID         = "id"
	TakesStatus     = "status"
)

func (r Reference) String() string {
	return strings.Join(append([]string{r.Ref, r.What}, r.Path...), ".")
}

var (
	referenceMark = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\{\s*tasks\.([^{}\n]*?)\s*\}\}`) })
	referenceText = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(.+?)\.(result|id|status|structured)((?:\.[^.]+)*)$`)
	})
)

// References are those in a prompt, in their order.
func References(prompt string) (list []Reference, err error) {
	_, err = Fill(prompt, func(r Reference) (string, error) {
		list = append(list, r)
		return "", nil
	})
	return list, err
}

// Fill puts what value gives in the place of each reference. What is filled in is not
// looked at again.
func Fill(prompt string, value func(Reference) (string, error)) (string, error) {
	if !strings.Contains(prompt, "{{") {
		return prompt, nil
	}
	var b strings.Builder
	end := 0
	for _, m := range referenceMark().FindAllStringSubmatchIndex(prompt, -1) {
		mark := prompt[m[0]:m[1]]
		part := referenceText().FindStringSubmatch(prompt[m[2]:m[3]])
		if part == nil || part[3] != "" && part[2] != TakesStructured {
			return "", invalid("prompt", fmt.Sprintf("%s is no reference to a task", shorten(mark, 80)),
				"Write {{tasks.NAME.result}}, .structured.FIELD, .status or .id; with the option literal the text stays as it is.")
		}
		r := Reference{Ref: part[1], What: part[2]}
		if part[3] != "" {
			r.Path = strings.Split(part[3][1:], ".")
		}
		text, err := value(r)
		if err != nil {
			return "", err
		}
		b.WriteString(prompt[end:m[0]])
		b.WriteString(text)
		end = m[1]
	}
	b.WriteString(prompt[end:])
	return b.String(), nil
}
