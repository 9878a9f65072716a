package report

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// MaxText bounds one text, in bytes as the page holds it.
	MaxText = 64 << 10
	// cutMark is what it takes to say that a text was cut, and how long it was.
	cutMark = 16
)

// text is a piece of free text: a string in the page's JSON, or where it was cut
// a string and the number of bytes of the whole.
type text struct {
	s    string
	size int // in the page
	full int64
}

func (t *text) MarshalJSON() ([]byte, error) {
	if int64(len(t.s)) < t.full {
		return json.Marshal([]any{t.s, t.full})
	}
	return json.Marshal(t.s)
}

// texts are all free texts of a page. When they do not fit, the longest are
// cut, all to the same size.
type texts struct {
	all   []*text
	limit int // of each
	size  int // of all
}

func newTexts() texts { return texts{limit: MaxText} }

// add keeps a text of which s is the beginning, or all.
func (x *texts) add(s string, full int64) *text {
	if s == "" {
		return nil
	}
	t := &text{s: s, full: max(full, int64(len(s)))}
	for range utf8.UTFMax - 1 { // the last character of a beginning may be torn
		if r, n := utf8.DecodeLastRuneInString(t.s); r == utf8.RuneError && n == 1 && t.full > int64(len(s)) {
			t.s = t.s[:len(t.s)-1]
		}
	}
	t.cut(x.limit)
	x.all, x.size = append(x.all, t), x.size+t.size
	// Later texts can only lower the limit, so what is cut here would be cut in
	// the end too: memory stays bounded by the page.
	if x.size > 2*MaxPage {
		x.shrink(MaxPage)
	}
	return t
}

// keep forgets all texts but these, some of which are nil.
func (x *texts) keep(these []*text) {
	x.all, x.size = slices.DeleteFunc(these, func(t *text) bool { return t == nil }), 0
	for _, t := range x.all {
		x.size += t.size
	}
}

// shrink finds the highest limit with which all texts take at most budget bytes.
func (x *texts) shrink(budget int) {
	if x.size <= budget {
		return
	}
	var sizes []int
	for _, t := range x.all {
		sizes = append(sizes, t.size)
	}
	slices.Sort(sizes)
	for i, n := range sizes {
		share := budget / (len(sizes) - i)
		if n > share {
			x.limit = min(x.limit, share)
			break
		}
		budget -= n
	}
	x.size = 0
	for _, t := range x.all {
		t.cut(x.limit)
		x.size += t.size
	}
}

// shown is about how many bytes are shown of a text that was cut; 0 if none was.
func (x *texts) shown() int {
	for _, t := range x.all {
		if int64(len(t.s)) < t.full {
			return max(1, x.limit-cutMark)
		}
	}
	return 0
}

// cut shortens a text to limit bytes of the page, if it takes more.
func (t *text) cut(limit int) {
	if t.size > 0 && t.size <= limit {
		return
	}
	mark := 0
	if int64(len(t.s)) < t.full {
		mark = cutMark
	}
	size, end := 2, 0 // end is how far a text that has to be cut reaches
	t.size = size + cutMark
	for i := 0; i < len(t.s); {
		n, width := encoded(t.s[i:])
		if i, size = i+n, size+width; size+mark > limit {
			t.s = strings.Clone(t.s[:end]) // lets the rest of it go
			return
		}
		if size+cutMark <= limit {
			end, t.size = i, size+cutMark
		}
	}
	t.size = size + mark
}

// encoded is how many bytes the first character of s has, and how many it takes
// in JSON that is safe within HTML.
func encoded(s string) (n, width int) {
	r, n := utf8.DecodeRuneInString(s)
	switch r {
	case '"', '\\', '\n', '\r', '\t', '\b', '\f':
		return n, 2
	case '<', '>', '&', '\u2028', '\u2029':
		return n, 6
	}
	if r < ' ' || r == utf8.RuneError && n == 1 {
		return n, 6
	}
	return n, n
}
