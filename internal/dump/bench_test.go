package dump

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func BenchmarkMask(b *testing.B) {
	r := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 256<<10)
	_, _ = r.Read(noise)
	ascii := make([]byte, 256<<10)
	for i := range ascii {
		ascii[i] = ' ' + noise[i]%90
	}
	text := []byte(strings.Repeat("{\"type\":\"assistant\",\"text\":\"The quick brown fox asks a token question\"}\n", 3600))
	kinds := map[string][]byte{"noise": noise, "ascii": ascii, "text": text}
	for _, unit := range hostile {
		kinds[strconv.Quote(unit)] = []byte(strings.Repeat(unit, 4*near/len(unit)))
	}
	for name, data := range kinds {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				mask(data, 0, len(data))
			}
		})
	}
}
