package dump

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
)

// longest is how far a secret is looked at: more than any key has.
const longest = 16 << 10

type word struct {
	text string
	rule int
}

const hashes = 1 << 12

// hash is the same for both cases of a letter.
func hash(b []byte) int {
	return (int(b[0]|' ') ^ int(b[1]|' ')<<3 ^ int(b[2]|' ')<<6) & (hashes - 1)
}

type span struct{ from, to int }

// mask writes over the secrets that begin before limit, and counts those that
// end after from. The length stays, and with it every offset and size.
func mask(b []byte, from, limit int) (n int64) { return maskFrom(b, 0, from, limit) }

// maskFrom is mask where the bytes before begin have been looked at.
func maskFrom(b []byte, begin, from, limit int) (n int64) {
	var list []span
	var next [64]int // where each rule goes on behind what it has found
	words, rules := words(), rules()
	for i := begin; i < min(limit, len(b)-2); i++ {
		for _, w := range words[hash(b[i:])] {
			if i < next[w.rule] || len(b)-i < len(w.text) || !bytes.EqualFold(b[i:i+len(w.text)], []byte(w.text)) {
				continue
			}
			r := &rules[w.rule]
			if r.after != nil && !r.after(b[max(0, i-before):i+1]) || r.first != nil && !r.first.Match(b[i:min(len(b), i+near)]) {
				continue
			}
			for _, text := range r.texts {
				if s, ok := match(text, b[i:]); ok {
					list = append(list, span{i + s.from, i + s.to})
					next[w.rule] = max(next[w.rule], i+s.to)
				}
			}
		}
	}
	slices.SortFunc(list, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	end := 0 // of what is masked
	for _, s := range list {
		if s.to <= end {
			continue
		}
		if s.from >= end && s.to > from {
			n++ // what overlaps is one
		}
		text := b[max(s.from, end):s.to]
		for i := copy(text, maskText); i < len(text); i++ {
			text[i] = '*'
		}
		end = s.to
	}
	return n
}

const maskText = "[redacted]"

// near is how far a text is looked for first: many words stand for nothing.
const near = 1 << 10

func match(text *regexp.Regexp, b []byte) (s span, ok bool) {
	b = b[:min(len(b), longest)]
	m := text.FindSubmatchIndex(b[:min(len(b), near)])
	if len(b) > near && (m == nil && bytes.HasPrefix(b, []byte("-----")) || m != nil && m[1] == near) {
		m = text.FindSubmatchIndex(b)
	}
	switch {
	case m == nil:
		return s, false
	case len(m) == 2:
		return span{m[0], m[1]}, true
	}
	s = span{m[2], m[3]}
	// What is masked already may stand behind a second telling word.
	masked := bytes.HasPrefix(b[s.from:s.to], []byte(maskText[:4]))
	kind := kinds[text.SubexpNames()[1]]
	return s, !masked && (kind == nil || kind(b[s.from:s.to]))
}

type redactor struct {
	count *int64
	from  int64 // what ends before it is not shown, and not counted
	rest  []byte
	given int // of rest, for words to be found to follow what they must
}

// next takes a part and gives what is ready. Only a secret that begins far
// enough before the end is known to be whole.
func (r *redactor) next(data []byte, last bool) []byte {
	r.rest = append(r.rest, data...)
	cut := len(r.rest) - longest
	if last {
		cut = len(r.rest)
	}
	if cut <= r.given {
		return nil
	}
	*r.count += maskFrom(r.rest, r.given, int(max(0, r.from)), cut)
	out := r.rest[r.given:cut:cut]
	r.given = min(before, cut)
	r.from -= int64(cut - r.given)
	r.rest = r.rest[cut-r.given:]
	return out
}
