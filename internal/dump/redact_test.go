package dump

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fake builds what looks like a key, so that none stands in this file.
func fake(prefix string, n int) string { return prefix + strings.Repeat("aB3x", n)[:n] }

var (
	jwt = "eyJ" + fake("", 20) + ".eyJ" + fake("", 30) + "." + fake("", 40)
	pem = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + fake("", 64) + "\n" + fake("", 30) + "==\n-----END RSA " + "PRIVATE KEY-----"
)

// secrets are whole texts with the part of each that must go.
var secrets = [][2]string{
	{fake("sk-ant-api03-", 90), ""},
	{fake("sk-proj-", 40), ""},
	{fake("sk-", 48), ""},
	{fake("sk_live_", 24), ""},
	{"AKIA" + "ABCDEFGH12345678", ""},
	{fake("ghp_", 36), ""},
	{fake("github_pat_", 60), ""},
	{fake("glpat-", 20), ""},
	{fake("xoxb-", 40), ""},
	{fake("AIza", 35), ""},
	{fake("npm_", 36), ""},
	{fake("hf_", 34), ""},
	{jwt, ""},
	{pem, ""},
	{pem[:70], ""}, // cut
	{"Authorization: Bearer " + fake("", 24), fake("", 24)},
	{`"Authorization": "Basic ` + fake("", 20) + `"`, fake("", 20)},
	{"postgres://me:hunter2@db/x", "hunter2"},
	{"PASSWORD=hunter22", "hunter22"},
	{"aws_secret_access_key = " + "'" + fake("", 40) + "'", fake("", 40)},
	{`{"api_key": "not quite"}`, "not quite"},
	{`{\"clientSecret\":\"it is me\"}`, "it is me"},
	{"password: hunter22", "hunter22"},
	{`export MY_TOKEN="a b c d"`, "a b c d"},
}

// harmless is left as it is.
var harmless = []string{
	"the password is checked", "input_tokens\":1234567,\"output_tokens\":12", `"password":null,"token":true`,
	"secret: of the trade", "https://example.org:8080/a@b", "risk-assessment-of-a-long-and-winding-road",
	"token = getToken()", "PASSWORD=$PASSWORD", `{"text":"the token=","id":12345,"to":"x"}`, "bearer of good news everywhere",
	"the public key: -----BEGIN PUBLIC KEY-----", `{"token":1234567.5e10}`,
}

func TestSecretsAreMasked(t *testing.T) {
	for _, s := range secrets {
		text, secret := s[0], s[1]
		if secret == "" {
			secret = text
		}
		// As it stands, and in JSON, there behind an escape.
		inJSON, err := json.Marshal("\n" + text)
		if err != nil {
			t.Fatal(err)
		}
		for _, whole := range []string{"see " + text + " there", string(inJSON)} {
			b := []byte(whole)
			n := mask(b, 0, len(b))
			if n != 1 || bytes.Contains(b, []byte(secret[4:])) || len(b) != len(whole) || !bytes.Contains(b, []byte("[reda")) {
				t.Errorf("%d in %q: %q", n, whole, b)
			}
		}
	}
	for _, text := range harmless {
		b := []byte(text)
		if n := mask(b, 0, len(b)); n != 0 || string(b) != text {
			t.Errorf("%q became %q", text, b)
		}
	}
}

// Wherever a stream is cut, the same is masked.
func TestSecretsOverBorders(t *testing.T) {
	var text strings.Builder
	for i, s := range secrets {
		text.WriteString(s[0] + " " + strings.Repeat("x", 1000*i) + "\n")
	}
	want := []byte(text.String())
	whole := mask(want, 0, len(want))
	if whole < int64(len(secrets))-1 {
		t.Fatalf("%d of %d are masked", whole, len(secrets))
	}
	for _, size := range []int{777, longest, longest + 1, 100_000} {
		var n int64
		r := &redactor{count: &n}
		var got []byte
		for rest := []byte(text.String()); len(rest) > 0; {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			got = append(got, r.next(part, len(rest) == 0)...)
		}
		if n != whole || !bytes.Equal(got, want) {
			t.Errorf("in parts of %d: %d masked, want %d", size, n, whole)
		}
	}
}

// Masking keeps the length, and JSON the same JSON but for its strings.
func FuzzMask(f *testing.F) {
	for _, s := range secrets {
		f.Add(s[0])
	}
	for _, s := range harmless {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := []byte(text)
		mask(b, 0, len(b))
		if len(b) != len(text) {
			t.Fatalf("%d bytes became %d", len(text), len(b))
		}
		var before, after any
		if json.Unmarshal([]byte(text), &before) != nil {
			before = map[string]any{"password": text, "x": []any{text, 123456.0, nil, true}, text: 1.0}
			b, _ = json.Marshal(before)
			mask(b, 0, len(b))
		}
		if err := json.Unmarshal(b, &after); err != nil || !reflect.DeepEqual(shape(before), shape(after)) {
			t.Errorf("%q became %q: %v", text, b, err)
		}
	})
}

// shape is a JSON value without its strings.
func shape(v any) any {
	switch v := v.(type) {
	case string:
		return ""
	case []any:
		list := []any{}
		for _, x := range v {
			list = append(list, shape(x))
		}
		return list
	case map[string]any:
		return len(v) > 0
	}
	return v
}

// Text that looks like the beginnings of secrets takes no minutes.
func TestHostileText(t *testing.T) {
	for _, unit := range []string{"-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "password: ", "password=", `password:"a `, "token:'a", "bearer ", "://a:", "eyJ", "sk-", "sk-ant-a", "secret_", "password\\\\\\\\\\", "xox", "api_key=aaaaaaa."} {
		b := []byte(strings.Repeat(unit, 4*near/len(unit)))
		began := time.Now()
		mask(b, 0, len(b))
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%q takes %v", unit, d)
		}
	}
}
