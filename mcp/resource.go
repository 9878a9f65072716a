package mcp

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"cctask/engine"
	"cctask/engine/task"
)

const (
	uriScheme  = "task://"
	jsonType   = "application/json"
	recentSize = 50 // tasks in task://recent and, at most, in task://active
)

// The keys of _meta that go with a piece of a stream.
const (
	metaOffset = "cctask/offset"      // of its first byte
	metaNext   = "cctask/next_offset" // where to go on; absent at the end of a stream that no longer grows
	metaBytes  = "cctask/bytes"       // of the whole stream as of now
	metaNote   = "cctask/note"        // the reference fits other tasks too
)

func (s *Server) addResources() {
	add := func(name, title, description string) {
		s.mcp.AddResource(mcpgo.NewResource(uriScheme+name, name, mcpgo.WithResourceTitle(title),
			mcpgo.WithResourceDescription(description), mcpgo.WithMIMEType(jsonType)), nil)
	}
	add("active", "Queued and running tasks", "The newest queued and running tasks, newest first, as list_active_tasks gives them.")
	add("recent", "Newest tasks", "The newest tasks, ended ones too, newest first.")

	template := func(path, name, title, description, mime string) {
		s.mcp.AddResourceTemplate(mcpgo.NewResourceTemplate(uriScheme+"{id}"+path, name, mcpgo.WithTemplateTitle(title),
			mcpgo.WithTemplateDescription(description), mcpgo.WithTemplateMIMEType(mime)), nil)
	}
	template("", "task", "A task", "A task as check_task_status gives it, without its output. id: a task_id, a unique part of it, or a name.", jsonType)
	for _, st := range []struct {
		stream      task.Stream
		title, what string
	}{
		{task.Stdout, "A task's stdout", "claude's event stream"},
		{task.Stderr, "A task's stderr", "what claude wrote to stderr"},
		{task.Result, "A task's answer", "the whole answer"},
		{task.Prompt, "A task's prompt", "the whole prompt"},
	} {
		template("/"+string(st.stream)+"{?offset,limit}", string(st.stream), st.title,
			fmt.Sprintf("Of the last attempt: %s, from byte offset on (0), at most limit bytes (1048576, which is also the most). If there is more, a second content names the URI to go on with; _meta of the first has it as %s.", st.what, metaNext), "text/plain")
	}
}

func (s *Server) readResource(ctx context.Context, r *request, p params) (any, error) {
	uri := text(p["uri"])
	contents, err := s.resource(ctx, uri)
	if err != nil {
		fault := r.faultOf(err)
		fault.Data = map[string]any{"uri": uri}
		return nil, fault
	}
	return &mcpgo.ReadResourceResult{Contents: contents}, nil
}

func (s *Server) resource(ctx context.Context, uri string) ([]mcpgo.ResourceContents, error) {
	ref, stream, query, err := splitURI(uri)
	if !strings.HasPrefix(uri, uriScheme) || err == nil && foreign(uri) {
		return nil, task.Errorf(task.CodeNotFound, "", "there is no resource %q; resources/list and resources/templates/list have those that there are", clip(uri, 100))
	}
	if err != nil {
		return nil, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("the URI is malformed: %v", err), Hint: "Escape a name as in any URI."}
	}
	if stream != "" {
		return s.readStream(ctx, uri, engine.OutputQuery{Ref: ref, Stream: task.Stream(stream)}, query)
	}
	v, err := s.object(ctx, ref)
	if err != nil {
		return nil, err
	}
	data, err := encode(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", uri, err)
	}
	return []mcpgo.ResourceContents{mcpgo.TextResourceContents{URI: uri, MIMEType: jsonType, Text: string(data)}}, nil
}

// splitURI takes a URI of ours apart. stream is "" if it names a whole object.
func splitURI(uri string) (ref, stream, query string, err error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(uri, uriScheme), "?")
	ref, stream, _ = strings.Cut(path, "/")
	ref, err = url.PathUnescape(ref) // a name may have any characters
	return ref, stream, query, err
}

// lists are the resources that are not one task.
var lists = map[string]task.Filter{
	"active": {Statuses: listArgs{}.statuses(), Limit: recentSize},
	"recent": {Limit: recentSize},
}

// object gives what a URI without a stream names.
func (s *Server) object(ctx context.Context, ref string) (any, error) {
	if f, ok := lists[ref]; ok {
		return s.page(ctx, f, true, "There is none.")
	}
	return s.look(ctx, ref, outputArgs{Output: "none", Detail: true})
}

// readStream reads a piece of a stream: as text if it is UTF-8, not counting a
// character that is cut off at its end, which then comes with the next piece;
// else as a blob, to the byte. If there is, or may come, more, a second content
// says so.
func (s *Server) readStream(ctx context.Context, uri string, q engine.OutputQuery, query string) ([]mcpgo.ResourceContents, error) {
	offset, limit, err := rangeOf(query)
	if err != nil {
		return nil, err
	}
	q.Offset, q.Limit = offset, int(limit)
	note := ""
	if _, bad := task.ParseID(q.Ref); bad != nil {
		var t task.Task
		if t, err = s.svc.Get(ctx, q.Ref); err != nil {
			return nil, fmt.Errorf("read task %s: %w", clip(q.Ref, 100), err)
		}
		q.Ref = string(t.ID)
		_, note, _ = t.Fits().Choose(task.ToRead, time.Now())
	}
	out, err := s.svc.Output(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read %s of task %s: %w", q.Stream, clip(q.Ref, 100), err)
	}
	data := out.Data
	last := out.Done && out.Offset+int64(len(data)) >= out.Size
	if _, used, lossy := decodeText(data, math.MaxInt, last); used > 0 && !lossy {
		data = data[:used]
	}
	meta := map[string]any{metaOffset: out.Offset, metaBytes: out.Size}
	if note != "" {
		meta[metaNote] = note
	}
	if last {
		return []mcpgo.ResourceContents{pieceOf(uri, data, meta)}, nil
	}
	next := out.Offset + int64(len(data))
	meta[metaNext] = next
	return []mcpgo.ResourceContents{pieceOf(uri, data, meta), nextPiece(uri, limit, next, out)}, nil
}

func pieceOf(uri string, data []byte, meta map[string]any) mcpgo.ResourceContents {
	if !utf8.Valid(data) {
		return mcpgo.BlobResourceContents{URI: uri, MIMEType: "application/octet-stream", Blob: base64.StdEncoding.EncodeToString(data), Meta: meta}
	}
	return mcpgo.TextResourceContents{URI: uri, MIMEType: "text/plain", Text: string(data), Meta: meta}
}

// nextPiece names the URI of the next piece. Claude Code does not show _meta to its
// model, which could not go on without it.
func nextPiece(uri string, limit, next int64, out task.Output) mcpgo.ResourceContents {
	path, _, _ := strings.Cut(uri, "?")
	u := fmt.Sprintf("%s?offset=%d", path, next)
	if limit != engine.MaxOutputPiece {
		u += fmt.Sprintf("&limit=%d", limit)
	}
	more := "More follows"
	if next >= out.Size {
		more = "The task still runs; more may follow"
	}
	return mcpgo.TextResourceContents{URI: u, MIMEType: "text/plain", Text: fmt.Sprintf("[These were bytes %d to %d of %d. %s: read %s]", out.Offset, next, out.Size, more, u)}
}

func rangeOf(query string) (offset, limit int64, err error) {
	limit = engine.MaxOutputPiece
	values, err := url.ParseQuery(query)
	if err != nil {
		return 0, 0, &task.Error{Code: task.CodeInvalid, Message: fmt.Sprintf("the URI's query is malformed: %v", err), Hint: "Write ?offset=N&limit=N."}
	}
	for _, p := range []struct {
		name   string
		dst    *int64
		lo, hi int64
	}{{"offset", &offset, 0, 1<<53 - 1}, {"limit", &limit, 1, engine.MaxOutputPiece}} {
		if !values.Has(p.name) {
			continue
		}
		n, err := strconv.ParseInt(values.Get(p.name), 10, 64)
		if err != nil || n < p.lo || n > p.hi {
			return 0, 0, task.Errorf(task.CodeInvalid, "Correct the URI and read again.", "%s: given %q, allowed is a whole number from %d to %d", p.name, clip(values.Get(p.name), 80), p.lo, p.hi)
		}
		*p.dst = n
	}
	return offset, limit, nil
}
