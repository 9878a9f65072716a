package dump

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// longest is how far a secret is looked at: more than any key has.
const longest = 16 << 10

// rule is a kind of secret. Its texts are looked at where one of the words
// stands in any case: to run all expressions over gigabytes would take hours.
type rule struct {
	words string // in lower case
	// texts are anchored at the word. Group 1 is the secret, or all of it is; as a
	// group "mixed" only with letters and digits, since prose has such words too.
	texts []func() *regexp.Regexp // made on first use: no other verb pays for them
}

func newRule(words string, texts ...string) rule {
	r := rule{words: words}
	for _, t := range texts {
		r.texts = append(r.texts, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:` + t + `)`) }))
	}
	return r
}

const (
	// assigned begins a setting by a telling name. In JSON inside of JSON quotes
	// are escaped, several times over.
	assigned = `(?i:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)` +
		`(?i:access)?(?i:key)?(?:[_-][A-Za-z0-9_-]{1,30})?\\*["']?`
	pemBegin = `-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`
	pemEnd   = `-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`
)

// rules are what the vendors' keys look like, by their documentation, and what
// stands where a secret usually does. A value that is spread over several events,
// or that looks like any other word, is not found.
var rules = []rule{
	newRule("sk-ant-", `sk-ant-[A-Za-z0-9_-]{16,}`),                                                                            // Anthropic
	newRule("sk-", `sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9]{32,}`),                                   // OpenAI, OpenRouter
	newRule("sk_live_ sk_test_ rk_live_ rk_test_", `(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}`),                                 // Stripe
	newRule("akia asia", `(?:AKIA|ASIA)[A-Z0-9]{16}`),                                                                          // AWS
	newRule("ghp_ gho_ ghu_ ghs_ ghr_", `gh[pousr]_[A-Za-z0-9]{30,}`),                                                          // GitHub
	newRule("github_pat_", `github_pat_[A-Za-z0-9_]{22,}`),                                                                     // GitHub
	newRule("glpat-", `glpat-[A-Za-z0-9_-]{20,}`),                                                                              // GitLab
	newRule("xox xapp-", `xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}`),                                              // Slack
	newRule("aiza ya29. gocspx-", `AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}`),                  // Google
	newRule("npm_", `npm_[A-Za-z0-9]{36}`),                                                                                     // npm
	newRule("pypi-", `pypi-[A-Za-z0-9_-]{50,}`),                                                                                // PyPI
	newRule("hf_", `hf_[A-Za-z0-9]{30,}`),                                                                                      // Hugging Face
	newRule("sg.", `SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`),                                                               // SendGrid
	newRule("doo_v1_ dop_v1_ dor_v1_", `do[opr]_v1_[a-f0-9]{40,}`),                                                             // DigitalOcean
	newRule("eyj", `eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`),                                            // JSON Web Tokens
	newRule("-----begin", pemBegin+`(?:[^"'-]|-[^"'-])*`+pemEnd, pemBegin+`(?:\\[nr]|\s|[A-Za-z0-9+/=]{20,})*[A-Za-z0-9+/=]*`), // PEM, whole or cut
	newRule("bearer", `(?i:bearer)\s+(?P<mixed>[A-Za-z0-9._~+/=-]{16,})`),                                                      // HTTP
	newRule("authorization", `(?i:authorization)\\*["']?\s*[:=]\s*\\*["']?(?i:basic|token)\s+([A-Za-z0-9._~+/=-]{8,})`),        // HTTP
	newRule("://", `://[^\s/:@"'\\]{0,100}:([^\s/@"'\\]{3,})@`),                                                                // URLs
	newRule("password passwd passphrase pwd secret token api_key api-key apikey access_key access-key accesskey private_key private-key privatekey credential",
		assigned+`=([^\s"'\\&;,<>(){}\[\]$|]{6,})`,                              // NAME=value
		assigned+`\s*[:=]\s*\\*"([^",:}\]\s\\\x60][^"\r\n]{2,}?[^"\\\r\n])\\*"`, // name: "value"
		assigned+`\s*[:=]\s*'([^'",:}\]\s\\][^'"\r\n\\]{3,})'`,                  // name = 'value'
		assigned+`\s*:\s*(?P<mixed>[^\s"'\\&;,<>(){}\[\]$|]{6,})`),              // name: value
}

// words are where each word is looked for: under its first three letters.
var words = sync.OnceValue(func() *[hashes][]word {
	var table [hashes][]word
	for i, r := range rules {
		for w := range strings.FieldsSeq(r.words) {
			h := hash([]byte(w))
			table[h] = append(table[h], word{w, i})
		}
	}
	return &table
})

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
func mask(b []byte, from, limit int) (n int64) {
	var list []span
	var next [64]int // where each rule goes on behind what it has found
	words := words()
	for i := range max(0, min(limit, len(b)-2)) {
		for _, w := range words[hash(b[i:])] {
			if i < next[w.rule] || len(b)-i < len(w.text) || !bytes.EqualFold(b[i:i+len(w.text)], []byte(w.text)) {
				continue
			}
			for _, text := range rules[w.rule].texts {
				if s, ok := match(text(), b[i:]); ok {
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
	return s, !masked && (text.SubexpIndex("mixed") < 0 || mixed(b[s.from:s.to]))
}

// mixed tells whether b has digits, and letters other than a number's exponent.
func mixed(b []byte) bool {
	return bytes.ContainsAny(b, "0123456789") && bytes.ContainsFunc(b, func(c rune) bool {
		return c != 'e' && c != 'E' && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	})
}

// redactor masks a stream that comes in parts.
type redactor struct {
	count *int64
	from  int64 // what ends before it is not shown, and not counted
	rest  []byte
}

// next takes a part and gives what is ready. Only a secret that begins far
// enough before the end is known to be whole.
func (r *redactor) next(data []byte, last bool) []byte {
	r.rest = append(r.rest, data...)
	cut := len(r.rest) - longest
	if last {
		cut = len(r.rest)
	}
	if cut <= 0 {
		return nil
	}
	*r.count += mask(r.rest, int(max(0, r.from)), cut)
	r.from -= int64(cut)
	out := r.rest[:cut:cut]
	r.rest = r.rest[cut:]
	return out
}
