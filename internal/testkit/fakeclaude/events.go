package fakeclaude

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type object = map[string]any

// run is one run of the fake.
type run struct {
	options options
	session *session

	done       bool // no result is owed at the end
	said       string
	turns      int
	results    int
	structured json.RawMessage
	code       int
	ignoreTerm atomic.Bool

	mu      sync.Mutex // a signal charges the session while the script goes on
	begun   bool       // the session exists
	charged bool
	cost    float64
}

var started = time.Now()

// emit prints an event; the first one is preceded by init.
func (r *run) emit(e object) {
	r.begin()
	r.write(e)
}

func (r *run) write(e object) {
	e["session_id"] = r.session.id
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // events hold only what JSON can hold
	}
	put(os.Stdout, append(line, '\n'))
}

// put writes in one call, so that a kill tears no line that we did not mean
// to tear. Like the real CLI it does not mind a reader that is gone.
func put(f *os.File, b []byte) { _, _ = f.Write(b) }

func (r *run) begin() {
	if r.begun {
		return
	}
	r.exist()
	cwd, _ := os.Getwd()
	r.emit(object{
		"type": "system", "subtype": "init", "cwd": cwd, "tools": []string{"Bash", "Read", "Write"},
		"mcp_servers": []any{}, "model": r.options.model, "permissionMode": "default",
		"apiKeySource": "none", "claude_code_version": Version, "uuid": newUUID(),
	})
}

// exist makes the session known, so that it can be resumed.
func (r *run) exist() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = true
	r.session.save()
}

func (r *run) assistant(block object) {
	r.emit(object{
		"type": "assistant", "parent_tool_use_id": nil, "uuid": newUUID(), "message": object{
			"id": "msg_" + newUUID(), "type": "message", "role": "assistant", "model": r.options.model,
			"content": []any{block}, "stop_reason": nil, "stop_sequence": nil,
			"usage": object{"input_tokens": 100, "output_tokens": 20},
		},
	})
}

// result prints a result event.
func (r *run) result(e object) {
	r.charge()
	ms := time.Since(started).Milliseconds()
	for k, v := range (object{
		"type": "result", "num_turns": r.turns, "total_cost_usd": r.session.Cost, "duration_ms": ms,
		"duration_api_ms": ms, "stop_reason": "end_turn", "terminal_reason": "completed",
		"usage": object{"input_tokens": 100 * r.turns, "output_tokens": 20 * r.turns},
		"modelUsage": object{r.options.model: object{
			"inputTokens": 100 * r.turns, "outputTokens": 20 * r.turns, "costUSD": r.session.Cost,
		}},
		"permission_denials": []any{}, "uuid": newUUID(), "result_index": r.results,
	}) {
		if _, own := e[k]; !own {
			e[k] = v
		}
	}
	if r.structured != nil {
		e["structured_output"] = r.structured
	}
	r.write(e)
	r.results++
	r.done = true
}

// charge adds the run's cost to the session, once.
func (r *run) charge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun && !r.charged {
		r.charged = true
		r.session.Cost += r.cost
		r.session.save()
	}
}

// exits are the codes with which the real CLI answers a signal.
var exits = map[os.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129, syscall.SIGINT: 0}

func (r *run) catchSignals() {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	go func() {
		for sig := range c {
			if sig == syscall.SIGTERM && r.ignoreTerm.Load() {
				continue
			}
			r.charge()
			syscall.Exit(end(exits[sig]))
		}
	}()
}

// Flood is what [[flood N]] prints: n bytes of lines, each an event as long as
// a line of at least 64 bytes is left.
func Flood(n int) []byte {
	const line, least = 4096, 64
	out := make([]byte, 0, n)
	for i := 0; n-len(out) >= least; i++ {
		size := min(line, n-len(out))
		if rest := n - len(out) - size; rest < least {
			size += rest
		}
		head := fmt.Sprintf(`{"type":"system","subtype":"flood","n":%d,"pad":"`, i)
		const tail = "\"}\n"
		out = append(out, head...)
		out = append(out, bytes.Repeat([]byte("x"), size-len(head)-len(tail))...)
		out = append(out, tail...)
	}
	return append(out, bytes.Repeat([]byte("\n"), n-len(out))...)
}
