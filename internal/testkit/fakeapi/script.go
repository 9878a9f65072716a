package fakeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// directive is one [[verb args]] of a prompt.
type directive struct{ verb, args string }

// directives finds the outermost [[...]] pairs. Brackets nest, so that the
// prompt of an inner task may stand inside an outer tool's input.
func directives(prompt string) []directive {
	var list []directive
	depth, start := 0, 0
	for i := 0; i+1 < len(prompt); i++ {
		switch prompt[i : i+2] {
		case "[[":
			if depth == 0 {
				start = i + 2
			}
			depth++
			i++
		case "]]":
			if depth == 1 {
				list = append(list, newDirective(prompt[start:i]))
			}
			depth = max(depth-1, 0)
			i++
		}
	}
	return list
}

func newDirective(s string) directive {
	verb, args, _ := strings.Cut(s, " ")
	return directive{verb, args}
}

// parseScript turns the directives of a prompt into turns. A turn ends with
// its tools or its error; the last one may be open. An error that passes is
// the beginning of the turn that follows it.
func parseScript(prompt string) ([]Turn, error) {
	var turns []Turn
	var cur Turn
	for _, d := range directives(prompt) {
		ends, err := cur.apply(d)
		if err != nil {
			return nil, fmt.Errorf("directive [[%s %.60s]]: %w", d.verb, d.args, err)
		}
		if ends {
			turns = append(turns, cur)
			cur = Turn{}
		}
	}
	if len(cur.Steps) > 0 {
		turns = append(turns, cur)
	}
	return turns, nil
}

// apply adds a directive to the turn and tells whether the turn ends with it.
func (t *Turn) apply(d directive) (ends bool, err error) {
	switch d.verb {
	case "text":
		t.Steps = append(t.Steps, Step{Text: d.args})
		return false, nil
	case "lines":
		n, err := strconv.Atoi(d.args)
		t.Steps = append(t.Steps, Step{Text: lines(n)})
		return false, err
	case "stream":
		return false, t.stream(d.args)
	case "delay":
		wait, err := time.ParseDuration(d.args)
		t.Steps = append(t.Steps, Step{Delay: wait})
		return false, err
	case "hold":
		t.Steps = append(t.Steps, Step{Hold: d.args})
		return false, nil
	case "end":
		return true, nil
	case "hang", "drop", "status", "limit":
		step, err := parseTrouble(d)
		t.Steps = append(t.Steps, step)
		return step.Times == 0, err
	default:
		return true, t.tools(d)
	}
}

// tools reads the verbs that ask for tools: bash, tool and tools.
func (t *Turn) tools(d directive) error {
	switch d.verb {
	case "bash":
		input := map[string]any{"command": d.args, "description": "run a scripted command"}
		t.Steps = append(t.Steps, Step{Tool: &ToolUse{Name: "Bash", Input: input}})
		return nil
	case "tool":
		name, input, _ := strings.Cut(d.args, " ")
		u := ToolUse{Name: name}
		err := json.Unmarshal([]byte(input), &u.Input)
		t.Steps = append(t.Steps, Step{Tool: &u})
		return err
	case "tools":
		dec := json.NewDecoder(strings.NewReader(d.args))
		for {
			var u ToolUse
			if err := dec.Decode(&u); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			t.Steps = append(t.Steps, Step{Tool: &u})
		}
	default:
		return errors.New("unknown verb")
	}
}

// stream reads "COUNT PAUSE WORD": the word COUNT times, PAUSE in between.
func (t *Turn) stream(args string) error {
	f := strings.SplitN(args, " ", 3)
	if len(f) != 3 {
		return errors.New("want COUNT PAUSE WORD")
	}
	n, err := strconv.Atoi(f[0])
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(f[1])
	if err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			t.Steps = append(t.Steps, Step{Delay: pause})
		}
		t.Steps = append(t.Steps, Step{Text: f[2] + " "})
	}
	return nil
}

// parseTrouble reads "[CODE] [times=N] [after=DURATION] [message]"; only a status has
// a code.
func parseTrouble(d directive) (s Step, err error) {
	rest := d.args
	switch d.verb {
	case "hang":
		s.Hang = true
	case "drop":
		s.Drop = true
	case "limit":
		s.Fail = &Failure{Status: http.StatusTooManyRequests, Limit: true}
	default:
		s.Fail = &Failure{}
		var code string
		code, rest, _ = strings.Cut(rest, " ")
		s.Fail.Status, err = strconv.Atoi(code)
	}
	for rest != "" && err == nil {
		word, more, _ := strings.Cut(rest, " ")
		if v, ok := strings.CutPrefix(word, "times="); ok {
			s.Times, err = strconv.Atoi(v)
		} else if s.Fail == nil {
			err = errors.New("want times=N or nothing")
		} else if v, ok := strings.CutPrefix(word, "after="); ok {
			s.Fail.After, err = time.ParseDuration(v)
		} else {
			s.Fail.Message = rest
			break
		}
		rest = more
	}
	return s, err
}
