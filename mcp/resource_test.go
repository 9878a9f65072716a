package mcp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cctask/engine"
	"cctask/engine/task"
)

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// content is what a read gives.
type content struct {
	URI, MIMEType string
	Text          *string
	Blob          *string
	Meta          map[string]int64 `json:"_meta"`
	next          string           // the URI of the next piece, or its own if it is the last
}

func (p *peer) rpc(method, params string) message {
	p.t.Helper()
	p.send(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)
	return p.next()
}

func (p *peer) read1(uri string) content {
	p.t.Helper()
	m := p.rpc("resources/read", fmt.Sprintf(`"uri":%q`, uri))
	var r struct{ Contents []content }
	if m.Error != nil || json.Unmarshal(m.Result, &r) != nil || len(r.Contents) == 0 || r.Contents[0].URI != uri {
		p.t.Fatalf("%s gave %.500s", uri, m.raw)
	}
	// A client that hides _meta sees where to go on, if there is more.
	next, more := r.Contents[0].Meta[metaNext]
	if more != (len(r.Contents) == 2) || more && (!strings.HasSuffix(*r.Contents[1].Text, ": read "+r.Contents[1].URI+"]") ||
		!strings.HasPrefix(r.Contents[1].URI, fmt.Sprintf("%s?offset=%d", strings.Split(uri, "?")[0], next))) {
		p.t.Fatalf("%s gave %.500s", uri, m.raw)
	}
	r.Contents[0].next = r.Contents[len(r.Contents)-1].URI
	return r.Contents[0]
}

func TestReadTasks(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.ask("start_cc_task_async", `{"prompt":"x","name":"a name/50%"}`)
	id := fakeID(1)
	f.end(id, task.Completed, "forty-two")
	p.ask("start_cc_task_async", `{"prompt":"y"}`)
	for _, uri := range []string{"task://" + string(id), "task://" + url.PathEscape("a name/50%")} {
		var v task.View
		c := p.read1(uri)
		if err := json.Unmarshal([]byte(*c.Text), &v); err != nil || v.TaskID != id || *v.Result != "forty-two" || c.MIMEType != jsonType {
			t.Errorf("%s gave %s", uri, *c.Text)
		}
		valid(t, "task.out.json", json.RawMessage(*c.Text))
	}
	for uri, want := range map[string]int{"task://active": 1, "task://recent": 2} {
		var l listResult
		c := p.read1(uri)
		valid(t, "list.out.json", json.RawMessage(*c.Text))
		if err := json.Unmarshal([]byte(*c.Text), &l); err != nil || len(l.Tasks) != want {
			t.Errorf("%s gave %s", uri, *c.Text)
		}
	}
}

// Pieces of a stream, one after the other, are the stream to the byte, whatever
// their size; text stays text where it is cut.
func TestReadStreamInPieces(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	id := f.seed(t)
	f.output[task.Prompt] = []byte("as asked")
	if c := p.read1("task://" + string(id) + "/prompt"); *c.Text != "as asked" || c.Meta[metaBytes] != 8 {
		t.Errorf("the prompt is %+v", c)
	}
	text, raw := []byte("aé€😀z"), []byte("a\xff\xfe€")
	for _, ended := range []bool{false, true} {
		if ended {
			f.end(id, task.Completed, "")
		}
		for _, data := range [][]byte{text, raw} {
			f.output[task.Stdout] = data
			for limit := 4; limit <= len(data)+1; limit++ {
				var got []byte
				at := fmt.Sprintf("task://%s/stdout?offset=0&limit=%d", id, limit)
				for more := true; more; {
					c := p.read1(at)
					if c.Text != nil {
						got = append(got, *c.Text...)
					} else {
						b, err := base64.StdEncoding.DecodeString(*c.Blob)
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, b...)
					}
					if isText := c.Text != nil; &data[0] == &text[0] && !isText {
						t.Fatalf("limit %d: a blob at %d of a text", limit, c.Meta[metaOffset])
					}
					more = c.next != at && int(c.Meta[metaNext]) < len(data)
					at = c.next
				}
				if string(got) != string(data) {
					t.Errorf("limit %d: got %q of %q", limit, got, data)
				}
			}
		}
	}
	f.output[task.Stdout] = []byte(strings.Repeat("x", engine.MaxOutputPiece+1))
	if c := p.read1("task://" + string(id) + "/stdout"); len(*c.Text) != engine.MaxOutputPiece || c.Meta[metaNext] != engine.MaxOutputPiece {
		t.Errorf("%d bytes in one piece, %v", len(*c.Text), c.Meta)
	}
	if c := p.read1("task://" + string(id) + "/stdout?limit=2&offset=1"); *c.Text != "xx" || c.Meta[metaOffset] != 1 {
		t.Errorf("got %+v", c)
	}
}

func TestUnreadableResources(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	id := string(f.seed(t))
	for _, c := range []struct {
		uri            string
		legacy, modern int
		text           string
	}{
		{"task://nope", -32002, -32602, "not_found: read task nope"},
		{"task://nope/stdout", -32002, -32602, "not_found: "},
		{"task://" + id + "/nope", -32002, -32602, ""},
		{"file:///etc/passwd", -32002, -32602, ""},
		{"task://" + id + "/stdout?offset=-1", -32602, -32602, "offset: given"},
		{"task://" + id + "/stdout?limit=1048577", -32602, -32602, "limit: given"},
	} {
		for meta, code := range map[string]int{"": c.legacy, "," + modernMeta: c.modern} {
			m := p.rpc("resources/read", fmt.Sprintf(`"uri":%q%s`, c.uri, meta))
			if m.Error == nil || m.Error.Code != code || !strings.Contains(m.Error.Message, c.text) {
				t.Errorf("%s%s\nwas answered %s\nwant %d", c.uri, meta, m.raw, code)
			}
			if want := fmt.Sprintf(`"data":{"uri":%q}`, c.uri); !strings.Contains(m.raw, want) {
				t.Errorf("%s%s\nwas answered %s\nwant %s", c.uri, meta, m.raw, want)
			}
		}
	}
	p = servePeer(t, nil, New(Config{Service: absent{}, Defaults: defaults}))
	p.send(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"task://x"}}`)
	p.in.Close()
	if m := p.next(); m.Error == nil || !strings.HasPrefix(m.Error.Message, "closing: the server is leaving") {
		t.Errorf("got %s", m.raw)
	}
}

func TestCompletion(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	for i := range 120 {
		p.ask("start_cc_task_async", fmt.Sprintf(`{"prompt":"x","name":"Name %d"}`, i%3))
	}
	complete := func(ref, name, value string) (c struct {
		Values  []string
		Total   int
		HasMore bool
	},
	) {
		m := p.rpc("completion/complete", fmt.Sprintf(`"ref":%s,"argument":{"name":%q,"value":%q}`, ref, name, value))
		var r struct{ Completion any }
		r.Completion = &c
		if m.Error != nil || json.Unmarshal(m.Result, &r) != nil {
			t.Fatalf("got %s", m.raw)
		}
		return c
	}
	const resource, prompt = `{"type":"ref/resource","uri":"task://{id}"}`, `{"type":"ref/prompt","name":"resume_task"}`
	if c := complete(resource, "id", "01jd"); len(c.Values) != 100 || c.Total != 120 || !c.HasMore || c.Values[0] != string(fakeID(120)) {
		t.Errorf("got %v", c)
	}
	if c := complete(prompt, "task_id", "name"); !slices.Equal(c.Values, []string{"Name 2", "Name 1", "Name 0"}) || c.HasMore {
		t.Errorf("got %v", c)
	}
	if c := complete(resource, "offset", ""); len(c.Values) != 0 {
		t.Errorf("got %v", c)
	}
	for _, ref := range []string{`{"type":"ref/prompt","name":"nope"}`, `{"type":"ref/resource","uri":"file:///{id}"}`} {
		if m := p.rpc("completion/complete", `"ref":`+ref+`,"argument":{"name":"id","value":""}`); m.Error == nil || m.Error.Code != -32602 {
			t.Errorf("%s gave %s", ref, m.raw)
		}
	}
}

func TestPrompts(t *testing.T) {
	svc := newFake()
	var failed []string
	for i := range 13 {
		spec := task.Spec{Labels: []string{"nightly"}}
		if i == 12 {
			spec.Labels = nil
		}
		one, err := svc.Submit(t.Context(), engine.Submission{Spec: spec, Key: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		svc.tasks[one.ID].Status, svc.tasks[one.ID].Reason = task.Failed, task.ReasonAuth
		if i < 12 {
			failed = append(failed, string(one.ID))
		}
	}
	slices.Reverse(failed) // the fake knows no other order
	p := newPeer(t, svc)
	get := func(name, args string) message {
		return p.rpc("prompts/get", fmt.Sprintf(`"name":%q,"arguments":%s`, name, args))
	}
	for _, c := range []struct{ name, args, want string }{
		{"fan_out", `{"job":"<port> {tasks}"}`, "in parallel: <port> {tasks}"},
		{"fan_out", `{"job":"x","tasks":"3"}`, "the number of tasks: 3."},
		{"resume_task", `{"task_id":"T1"}`, "start_cc_task_async with resume_task_id T1 "},
		{"review_results", `{}`, "Label of the tasks: any."},
	} {
		m := get(c.name, c.args)
		var r struct {
			Messages []struct{ Content struct{ Text string } }
		}
		if m.Error != nil || json.Unmarshal(m.Result, &r) != nil || len(r.Messages) != 1 || !strings.Contains(r.Messages[0].Content.Text, c.want) {
			t.Errorf("%s %s gave %s", c.name, c.args, m.raw)
		}
	}
	if m := get("review_results", `{"label":"nightly"}`); !strings.Contains(string(m.Result), `So far: 12 tasks, $0.0000, 0 turns.\n- failed: 12\n- not completed, auth: `+strings.Join(failed[:10], " ")+` ... (12). `) {
		t.Errorf("got %s", m.raw)
	}
	if m := get("resume_task", `{"task_id":" "}`); m.Error == nil || m.Error.Code != -32602 || !strings.Contains(m.Error.Message, "task_id: missing") {
		t.Errorf("got %s", m.raw)
	}
	if m := get("nope", `{}`); m.Error == nil || m.Error.Code != -32602 {
		t.Errorf("got %s", m.raw)
	}
}
