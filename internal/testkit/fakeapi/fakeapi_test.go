package fakeapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cctask/internal/testkit/fakeapi"
)

// A test binary named fakeapid is the server as a process.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "fakeapid" {
		os.Exit(fakeapi.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// script is a conversation that a client has had up to now.
type script struct {
	prompt  string
	results []string // of the tools of one turn each
	stream  bool
	noTools bool
	session string
}

func (s script) body() []byte {
	type object = map[string]any
	messages := []any{
		object{"role": "user", "content": []any{
			object{"type": "text", "text": "<system-reminder>\n[[text wrong]]\n</system-reminder>"},
			object{"type": "text", "text": s.prompt},
		}},
		object{"role": "system", "content": "# Environment [[text wrong]]"},
	}
	for i, r := range s.results {
		id := fmt.Sprint("toolu_", i)
		messages = append(messages,
			object{"role": "assistant", "content": []any{object{"type": "tool_use", "id": id, "name": "Bash", "input": object{}}}},
			object{"role": "user", "content": []any{object{"type": "tool_result", "tool_use_id": id, "content": r}}})
	}
	request := object{"model": "m", "stream": s.stream, "messages": messages}
	if !s.noTools {
		request["tools"] = []any{object{"name": "Bash"}}
	}
	b, _ := json.Marshal(request)
	return b
}

func post(t *testing.T, url string, s script) (int, string) {
	t.Helper()
	req, err := http.NewRequest("POST", url+"/v1/messages?beta=true", bytes.NewReader(s.body()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Claude-Code-Session-Id", s.session)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

type message struct {
	Content []struct {
		Type, Text, Name string
		Input            json.RawMessage
	}
	StopReason string `json:"stop_reason"`
	Error      struct{ Type, Message string }
}

// short tells an answer in one line: its blocks and its end.
func short(t *testing.T, status int, body string) string {
	t.Helper()
	var m message
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return body
	}
	if status != http.StatusOK {
		return fmt.Sprint(status, " ", m.Error.Type, ": ", m.Error.Message)
	}
	var words []string
	for _, c := range m.Content {
		words = append(words, strings.TrimSpace(fmt.Sprint(c.Name, string(c.Input), c.Text)))
	}
	return strings.Join(words, "|") + " " + m.StopReason
}

func TestScripts(t *testing.T) {
	t.Parallel()
	api := fakeapi.Start(t)
	for _, c := range []struct {
		prompt  string
		results []string
		want    string
	}{
		{"a [[text b]] c", nil, "b end_turn"},
		{"[[text b]]\n[[text  c]]", nil, "b c end_turn"},
		{"[[lines 3]]", nil, "line 1\nline 2\nline 3 end_turn"},
		{"[[stream 3 1ms ab]]", nil, "ab ab ab end_turn"},
		{"[[text say]][[tool X {\"a\":1}]][[text b]]", nil, `say|X{"a":1} tool_use`},
		{"[[tool X {\"p\":\"[[text in]] ${result.0}\"}]][[text b]]", nil, "400 invalid_request_error: fakeapi: template ${result.0}: there are 0 tool results"},
		{"[[tool X {\"p\":\"[[text in]]\"}]][[text b ${result.0}]]", []string{"r"}, "b r end_turn"},
		{"[[bash a]][[bash b]][[text ${result.1.x.y.1} ${result.0}]]", []string{"r", `{"x":{"y":[1,{"z":2}]}}`}, `{"z":2} r end_turn`},
		{"[[bash a]][[text ${result.0.x}]]", []string{"no json"}, `400 invalid_request_error: fakeapi: template ${result.0.x}: the tool result is not JSON but "no json"`},
		{"[[bash a]][[text ${result.0.x}]]", []string{"{}"}, `400 invalid_request_error: fakeapi: template ${result.0.x}: no "x" in "{}"`},
		{"[[bash start '[[hold x]][[text in]]' > id]][[text out]]", []string{""}, "out end_turn"},
		{"[[text one]][[end]][[text two]]", []string{""}, "two end_turn"},
		{"[[text one]]", []string{""}, fakeapi.DefaultText("[[text one]]") + " end_turn"},
		{"plain", nil, fakeapi.DefaultText("plain") + " end_turn"},
		{"[[oops 1]]", nil, "400 invalid_request_error: fakeapi: directive [[oops 1]]: unknown verb"},
		{"[[delay x]]", nil, `400 invalid_request_error: fakeapi: directive [[delay x]]: time: invalid duration "x"`},
		{"[[status 429 after=2s slow down]]", nil, "429 rate_limit_error: slow down"},
		{"[[status 503]]", nil, "503 api_error: scripted api_error"},
		{"[[drop later]]", nil, "400 invalid_request_error: fakeapi: directive [[drop later]]: want times=N or nothing"},
		{"[[limit after=1h]]", nil, "429 rate_limit_error: scripted rate_limit_error"},
		{"[[drop]]", nil, `Post "` + api.URL + `/v1/messages?beta=true": EOF`},
	} {
		status, body := post(t, api.URL, script{prompt: c.prompt, results: c.results})
		if got := short(t, status, body); got != c.want {
			t.Errorf("%q after %q: %s, want %s", c.prompt, c.results, got, c.want)
		}
	}
}

func TestStreamAndWholeAgree(t *testing.T) {
	t.Parallel()
	api := fakeapi.Start(t)
	long := strings.Repeat("ä🎉b", 10000)
	status, body := post(t, api.URL, script{prompt: "[[text " + long + "]][[bash x]]", stream: true})
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	var text string
	var kinds []string
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e struct {
			Type  string
			Delta struct{ Text string }
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		text += e.Delta.Text
		kinds = append(kinds, strings.TrimPrefix(e.Type, "content_block_"))
	}
	if text != long {
		t.Errorf("%d bytes of text, want %d", len(text), len(long))
	}
	want := "message_start start" + strings.Repeat(" delta", 5) + " stop start delta stop message_delta message_stop"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestTimesCountsTriesOfOneTurn(t *testing.T) {
	t.Parallel()
	api := fakeapi.Start(t)
	s := script{prompt: "[[status 529 times=2]][[text ok]]", session: "a"}
	var got []int
	for range 3 {
		status, _ := post(t, api.URL, s)
		got = append(got, status)
	}
	s.session = "b"
	status, _ := post(t, api.URL, s)
	if got = append(got, status); fmt.Sprint(got) != "[529 529 200 529]" {
		t.Errorf("statuses %v", got)
	}
	if n := len(api.Prompts()); n != 2 {
		t.Errorf("%d prompts, want one a session", n)
	}
}

func TestHoldsAndCounts(t *testing.T) {
	t.Parallel()
	api := fakeapi.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	answers := make(chan string, 4)
	for i := range 3 {
		go func() {
			status, body := post(t, api.URL, script{prompt: "[[hold a]][[text x]]", session: fmt.Sprint(i)})
			answers <- short(t, status, body)
		}()
	}
	if err := api.WaitHeld(ctx, "a", 3); err != nil {
		t.Fatal(err)
	}
	<-api.Held("a")
	if _, body := post(t, api.URL, script{prompt: "errand", noTools: true}); !strings.Contains(body, "Scripted title") {
		t.Errorf("errand: %s", body)
	}
	if st := api.Stats(); st.InFlight != 3 || st.MaxConcurrent != 3 || st.Turns != 3 {
		t.Errorf("stats %+v", st)
	}
	api.Release("a")
	for range 3 {
		if got := <-answers; got != "x end_turn" {
			t.Error(got)
		}
	}
	if _, body := post(t, api.URL, script{prompt: "[[hold a]][[text late]]"}); !strings.Contains(body, "late") {
		t.Errorf("a released hold held: %s", body)
	}
	if n := len(api.Requests()); n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
	if err := api.WaitFor(ctx, func(st fakeapi.Stats) bool { return st.InFlight == 0 }); err != nil {
		t.Error(err)
	}
}

func TestHandle(t *testing.T) {
	t.Parallel()
	api := fakeapi.Start(t)
	api.Handle(func(p string) bool { return strings.HasPrefix(p, "x") }, func(c fakeapi.Conversation) fakeapi.Turn {
		return fakeapi.Say(fmt.Sprintf("%d %v %v %s %s %s", c.Turn, c.ToolResults, c.Tools, c.Model, c.Session, c.Kind))
	})
	_, body := post(t, api.URL, script{prompt: "x1", results: []string{"r"}, session: "s"})
	if got, want := short(t, 200, body), "1 [{toolu_0 r false}] [Bash] m s main end_turn"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOtherRoutes(t *testing.T) {
	t.Parallel()
	api := fakeapi.Start(t)
	for _, c := range []struct{ method, path, want string }{
		{"HEAD", "/", ""},
		{"HEAD", "/api/hello", ""},
		{"GET", "/v1/models", `{"data":[],"first_id":null,"has_more":false,"last_id":null}`},
		{"POST", "/v1/messages/count_tokens", `{"input_tokens":3}`},
	} {
		req, err := http.NewRequest(c.method, api.URL+c.path, strings.NewReader("twelve bytes"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || strings.TrimSpace(string(b)) != c.want {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.path, resp.StatusCode, b, c.want)
		}
	}
}

// The server as a process: its controls, and its end with its parent's pipe.
func TestMainServesUntilStdinEnds(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"fakeapid"}, Env: append(os.Environ(), "GORACE=atexit_sleep_ms=0")}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
	answer := make(chan string, 1)
	go func() {
		_, body := post(t, url, script{prompt: "[[hold h]][[text free]]"})
		answer <- body
	}()
	held, err := http.Get(url + "/_held/h?n=1")
	if err != nil {
		t.Fatal(err)
	}
	var st fakeapi.Stats
	if err := json.NewDecoder(held.Body).Decode(&st); err != nil || st.Held["h"] != 1 {
		t.Errorf("held: %+v, %v", st, err)
	}
	_ = held.Body.Close()
	release, err := http.Post(url+"/_release/h", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = release.Body.Close()
	if got := <-answer; !strings.Contains(got, "free") {
		t.Errorf("after the release: %s", got)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("end: %v", err)
	}
}
