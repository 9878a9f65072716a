package claude

import (
	"strings"

	"github.com/tidwall/gjson"

	"cctask/engine/task"
)

// price is what a million tokens cost, in US dollars.
type price struct{ in, out, write, read float64 }

// seeds are the prices of families of models as of November 2026, where Prices begin.
// A model of an unknown family is taken for one of the first.
var seeds = []struct {
	family string
	price
}{
	{"opus", price{4, 20, 5, 0.2}},
	{"sonnet", price{3, 15, 3.75, 0.3}},
	{"haiku", price{1, 5, 1.25, 0.1}},
}

// Billed is what claude says that a model cost, in modelUsage of a result.
type Billed struct {
	Input  int64   `json:"inputTokens"`
	Output int64   `json:"outputTokens"`
	Read   int64   `json:"cacheReadInputTokens"`
	Write  int64   `json:"cacheCreationInputTokens"`
	USD    float64 `json:"costUSD"`
}

// Prices estimate what a run costs before claude tells it: by model, how many times what
// the table says was billed last. The zero value knows the table alone.
type Prices map[string]float64

// Learn takes what was billed.
func (p Prices) Learn(bills map[string]Billed) {
	for model, b := range bills {
		usual := seed(model).of(task.Usage{InputTokens: b.Input, OutputTokens: b.Output, CacheReadTokens: b.Read, CacheCreationTokens: b.Write})
		if usual > 0 && b.USD > 0 {
			p[model] = b.USD / usual
		}
	}
}

// Estimate is what tokens cost, by model.
func (p Prices) Estimate(used map[string]task.Usage) (usd float64) {
	for model, u := range used {
		factor := 1.0
		if learned, ok := p[model]; ok {
			factor = learned
		}
		usd += factor * seed(model).of(u)
	}
	return usd
}

func (p price) of(u task.Usage) float64 {
	n := func(tokens int64) float64 { return float64(max(0, tokens)) / 1e6 }
	return n(u.InputTokens)*p.in + n(u.OutputTokens)*p.out + n(u.CacheCreationTokens)*p.write + n(u.CacheReadTokens)*p.read
}

func seed(model string) price {
	for _, s := range seeds {
		if strings.Contains(model, s.family) {
			return s.price
		}
	}
	return seeds[0].price
}

// unbilled are the tokens since the last result, by model. The usage of an
// assistant event is that of its message's beginning: of its output a token or two, so
// that is estimated by its length.
type unbilled struct {
	by      map[string]task.Usage
	message string // whose input is counted; its blocks come as events of their own
}

// bytesPerToken is what text and JSON of a model have, about.
const bytesPerToken = 4

// written are the bytes of an assistant event that the model has written: what
// claude and the API put around them is many times as long as a short answer.
func written(line []byte) (n int) {
	whole(line).Get("message.content").ForEach(func(_, block gjson.Result) bool {
		members(block, func(key string, v gjson.Result) {
			if key != "type" && key != "id" {
				n += len(v.Raw)
			}
		})
		return true
	})
	return n
}

func (u *unbilled) add(m *message, line []byte) {
	if m.synthetic() {
		return
	}
	if u.by == nil {
		u.by = map[string]task.Usage{}
	}
	more := task.Usage{OutputTokens: int64(written(line) / bytesPerToken)}
	if m.ID == "" || m.ID != u.message {
		u.message = m.ID
		more.OutputTokens = max(more.OutputTokens, m.Usage.OutputTokens)
		more.InputTokens, more.CacheCreationTokens, more.CacheReadTokens = m.Usage.InputTokens, m.Usage.CacheCreationTokens, m.Usage.CacheReadTokens
	}
	u.by[m.Model] = u.by[m.Model].Add(more)
}

// Unbilled are the tokens that no result has told the cost of yet, by model.
func (p *Parser) Unbilled() map[string]task.Usage { return p.unbilled.by }

// Billed is what the session cost until the last result, by model.
func (p *Parser) Billed() map[string]Billed {
	if p.last == nil {
		return nil
	}
	return p.last.Billed
}
