package report

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// chromium finds a browser. On a CI machine there must be one.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium on the PATH")
	}
	t.Skip("no Chromium on the PATH: the page is not looked at")
	return ""
}

// tab is a page in a headless Chromium, driven over a pair of pipes.
type tab struct {
	t       *testing.T
	out     *os.File
	answers chan message
	events  chan message
	session string
	id      int
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
}

// patience bounds every answer of the browser.
const patience = 5 * time.Minute

func newTab(t *testing.T) *tab {
	t.Helper()
	home := t.TempDir()
	fromUs, toIt, err := os.Pipe()
	must(t, err)
	fromIt, toUs, err := os.Pipe()
	must(t, err)
	cmd := exec.Command(chromium(t), "--headless", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(home, "profile"),
		"--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--host-resolver-rules=MAP * ^NOTFOUND", "--hide-scrollbars", "--lang=en-US", "about:blank")
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + home, "TZ=UTC", "XDG_RUNTIME_DIR=" + home}
	cmd.ExtraFiles = []*os.File{fromUs, toUs}
	must(t, cmd.Start())
	fromUs.Close()
	toUs.Close()
	b := &tab{t: t, out: toIt, answers: make(chan message, 1), events: make(chan message, 1<<16)}
	go b.read(fromIt)
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil)
		toIt.Close()
		// It writes into its profile until the end.
		if err := cmd.Wait(); err != nil {
			t.Logf("chromium: %v", err)
		}
	})
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})
	attached := b.call("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})
	b.session = attached["sessionId"].(string)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *tab) read(from *os.File) {
	defer close(b.answers)
	defer from.Close()
	for in := bufio.NewReader(from); ; {
		line, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			return
		}
		if m.ID != 0 {
			b.answers <- m
		} else {
			b.events <- m
		}
	}
}

// call sends a command and returns what came of it.
func (b *tab) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.id++
	raw, err := json.Marshal(params)
	must(b.t, err)
	if params == nil {
		raw = []byte("{}")
	}
	line, err := json.Marshal(message{ID: b.id, Method: method, Params: raw, SessionID: b.session})
	must(b.t, err)
	_, err = b.out.Write(append(line, 0))
	must(b.t, err)
	select {
	case m, ok := <-b.answers:
		if !ok || m.ID != b.id || m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		var v map[string]any
		must(b.t, json.Unmarshal(m.Result, &v))
		return v
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
	return nil
}

// await returns at the next event of this kind.
func (b *tab) await(method string) {
	b.t.Helper()
	for end := time.After(patience); ; {
		select {
		case m := <-b.events:
			b.judge(m)
			if m.Method == method {
				return
			}
		case <-end:
			b.t.Fatalf("no %s", method)
		}
	}
}

// judge fails the test for what a page must not do.
func (b *tab) judge(m message) {
	b.t.Helper()
	var p struct {
		Type    string `json:"type"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
	}
	must(b.t, json.Unmarshal(m.Params, &p))
	switch {
	case m.Method == "Runtime.exceptionThrown", m.Method == "Log.entryAdded", m.Method == "Page.javascriptDialogOpening",
		m.Method == "Runtime.consoleAPICalled":
		b.t.Errorf("%s: %s", m.Method, m.Params)
	case m.Method == "Network.requestWillBeSent" && p.Request.URL[:5] != "file:" && p.Request.URL[:5] != "data:":
		b.t.Errorf("the page asked for %s", p.Request.URL)
	}
}

// quiet wants nothing wrong to have been told so far.
func (b *tab) quiet() {
	b.t.Helper()
	b.eval("0")
	for len(b.events) > 0 {
		b.judge(<-b.events)
	}
}

// look sets what the page is shown on.
func (b *tab) look(width, height int, scheme string) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}})
}

func (b *tab) open(path string) {
	b.call("Page.navigate", map[string]any{"url": "file://" + path})
	b.await("Page.loadEventFired")
}

// eval returns the value of an expression, awaited.
func (b *tab) eval(js string) any {
	b.t.Helper()
	r := b.call("Runtime.evaluate", map[string]any{"expression": js, "returnByValue": true, "awaitPromise": true})
	if fault, ok := r["exceptionDetails"]; ok {
		b.t.Fatalf("%s: %v", js, fault)
	}
	return r["result"].(map[string]any)["value"]
}

// click presses the mouse in the middle of what a selector finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	q, _ := json.Marshal(selector)
	at, ok := b.eval(fmt.Sprintf(`(() => { const e = document.querySelector(%s); if (!e) return null; e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); return [r.x + Math.min(r.width, innerWidth - r.x) / 2, r.y + r.height / 2] })()`, q)).([]any)
	if !ok {
		b.t.Fatalf("there is no %s", selector)
	}
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1})
	}
}

// key presses a key.
func (b *tab) key(key string) {
	p := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": keyCodes[key]}
	if key == "Enter" {
		p["text"] = "\r"
	}
	b.call("Input.dispatchKeyEvent", p)
	p["type"] = "keyUp"
	b.call("Input.dispatchKeyEvent", p)
}

var keyCodes = map[string]int{
	"Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
	"k": 75, "+": 187, "-": 189,
}

// shot keeps a picture in $CCTASK_SHOTS, for people to look at.
func (b *tab) shot(name string) {
	b.keep(name+".png", "Page.captureScreenshot", map[string]any{"format": "png"})
}

// pdf prints the page, and keeps that too.
func (b *tab) pdf() {
	b.keep("page.pdf", "Page.printToPDF", map[string]any{"printBackground": false})
}

func (b *tab) keep(name, method string, params map[string]any) {
	b.t.Helper()
	dir := os.Getenv("CCTASK_SHOTS")
	if dir == "" && method == "Page.captureScreenshot" {
		return
	}
	data, err := base64.StdEncoding.DecodeString(b.call(method, params)["data"].(string))
	must(b.t, err)
	if dir != "" {
		name = strings.ReplaceAll(strings.TrimPrefix(b.t.Name(), "TestPage/"), "/", "-") + "-" + name
		must(b.t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}
