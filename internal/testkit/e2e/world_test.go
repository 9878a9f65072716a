package e2e

import (
	"os"
	"testing"

	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeapi"
	"cctask/internal/testkit/realclaude"
)

func TestMain(m *testing.M) { os.Exit(cctest.Main(m)) }

// world is one user on one machine.
type world struct{ *cctest.World }

// newWorld gives a world with the real CLI and an API that plays scripts.
func newWorld(t testing.TB, extra ...string) *world {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	claude := realclaude.Require(t)
	return newWorldWith(t, fakeapi.Start(t), claude, extra...)
}

func newWorldWith(t testing.TB, api *fakeapi.Server, claude string, extra ...string) *world {
	t.Helper()
	return &world{cctest.New(t, api, claude, extra...)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
