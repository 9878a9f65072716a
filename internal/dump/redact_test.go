package dump

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
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

	// Settings, in the ways in which files and programs write them.
	{"[default]\naws_secret_access_key = " + fake("", 40), fake("", 40)},
	{"secret = hunter22", "hunter22"},
	{"secret = correcthorse", "correcthorse"},
	{"password := hunter22", "hunter22"},
	{"password:=hunter22", "hunter22"},
	{"client.secret=p@ss(w0rd)!", "p@ss(w0rd)!"},
	{`:token => "hunter22"`, "hunter22"},
	{`const password: string = "correct horse"`, "correct horse"},
	{"<password>hunter22</password>", "hunter22"},
	{"DB_PASS=hunter22", "hunter22"},
	{"export PGPASS='correct horse'", "correct horse"},
	{"dbPass = hunter22", "hunter22"},
	{"mysqlpass=hunter22", "hunter22"},
	{`"smtp_pass": "hunter22"`, "hunter22"},
	{"pass=hunter22", "hunter22"},
	{"DB_PASS: hunter22", "hunter22"},
	{"DBPASS=swordfish", "swordfish"},
	{"account_key: hunter22hunter22", "hunter22hunter22"},
	{"dbpwd=hunter22", "hunter22"},
	{"AccountName=me;AccountKey=" + fake("", 86) + "==;EndpointSuffix=core.windows.net", fake("", 86) + "=="},
	{"https://a.blob.core.windows.net/x?sv=2026&sig=" + fake("", 43) + "%3D", fake("", 43) + "%3D"},
	{"encryption_key = " + fake("", 32), fake("", 32)},

	// Options of commands.
	{"curl -u me:hunter22 https://x", "hunter22"},
	{"curl -sS --user 'me:correct horse' https://x", "correct horse"},
	{"curl https://x \\\n  -ume:hunter22", "hunter22"},
	{"curl -b 'session=" + fake("", 20) + "' https://x", "session=" + fake("", 20)},
	{"tool --password hunter22 x", "hunter22"},
	{"tool --db-password swordfish x", "swordfish"},
	{"tool --password='correct horse'", "correct horse"},
	{"tool --token \"correct horse\"", "correct horse"},
	{`["tool","--password","hunter22","x"]`, "hunter22"},
	{"Connect-It -Password hunter22", "hunter22"},
	{"sshpass -p hunter22 ssh me@host", "hunter22"},
	{"sshpass -p'correct horse' ssh me@host", "correct horse"},
	{"mysql -u root -phunter22 db", "hunter22"},
	{"docker login -u me -p hunter22 host", "hunter22"},

	// Files.
	{"machine example.org login me password hunter22", "hunter22"},
	{"machine example.org\n\tlogin me\n\tpassword swordfish", "swordfish"},
	{"default login me password swordfish", "swordfish"},
	{"login me\n\tpassword hunter22", "hunter22"},
	{`{"auths":{"https://index.docker.io/v1/":{"auth":"` + fake("", 24) + `"}}}`, fake("", 24)},
	{"//registry.example.org/:_auth=" + fake("", 24), fake("", 24)},
	{".dockerconfigjson: eyJhdXRo" + fake("", 60), "eyJhdXRo" + fake("", 60)},
	{"AGE-SECRET-" + "KEY-1" + strings.Repeat("QPZRY9X8", 7) + "QP", ""},
	{"AGE-SECRET-" + "KEY-PQ-1" + strings.Repeat("QPZRY9X8", 7), ""},
	{"age-secret-" + "key-1" + strings.Repeat("qpzry9x8", 7), ""},
	{"AGE-PLUGIN-" + "YUBIKEY-1" + strings.Repeat("QPZRY9X8", 3), ""},
	{".example.org\tTRUE\t/\tFALSE\t1799999999\tsid\t" + fake("", 20), fake("", 20)},

	// Cookies and the webhooks of chat services.
	{"Cookie: sid=" + fake("", 20) + "; theme=dark", "sid=" + fake("", 20) + "; theme=dark"},
	{"set-cookie: sid=" + fake("", 20) + "; Path=/; HttpOnly", "sid=" + fake("", 20) + "; Path=/; HttpOnly"},
	{`{"cookie":"sid=abcdefgh"}`, "sid=abcdefgh"},
	{"https://hooks.slack.com/services/" + "T01234567/B01234567/" + fake("", 24), "T01234567/B01234567/" + fake("", 24)},
	{"https://hooks.slack.com/triggers/" + "T01234567/123/" + fake("", 24), "T01234567/123/" + fake("", 24)},
	{"https://discord.com/api/webhooks/" + "123456789012345678/" + fake("", 68), fake("", 68)},
	{"https://canary.discordapp.com/api/v10/webhooks/" + "123456789012345678/" + fake("", 68), fake("", 68)},
	{"https://me.webhook.office.com/webhookb2/" + fake("", 36) + "@" + fake("", 36) + "/IncomingWebhook/" + fake("", 32), fake("", 32)},
	{"https://outlook.office.com/webhook/" + fake("", 36) + "/IncomingWebhook/" + fake("", 32), fake("", 32)},
	{"https://prod-1.westeurope.logic.azure.com/workflows/x?sp=%2Ftriggers&sig=" + fake("", 43), fake("", 43)},
	{"https://chat.googleapis.com/v1/spaces/x/messages?key=" + fake("", 39), fake("", 39)},
	{"https://api.telegram.org/bot123456789:" + fake("", 35) + "/sendMessage", fake("", 35)},
	{"https://chat.example.org/hooks/" + "xen8i3sp1tfw5eqw5tj4srb7ro", "xen8i3sp1tfw5eqw5tj4srb7ro"},
	{"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=" + "693a91f6-7bcd-4bc4-97a0-0ec2sifa5aaa", "693a91f6-7bcd-4bc4-97a0-0ec2sifa5aaa"},
	{"https://open.feishu.cn/open-apis/bot/v2/hook/" + "693a91f6-7bcd-4bc4-97a0-0ec2sifa5aaa", "693a91f6-7bcd-4bc4-97a0-0ec2sifa5aaa"},
}

// harmless is left as it is.
var harmless = []string{
	"the password is checked", "input_tokens\":1234567,\"output_tokens\":12", `"password":null,"token":true`,
	"secret: of the trade", "https://example.org:8080/a@b", "risk-assessment-of-a-long-and-winding-road",
	"token = getToken()", "PASSWORD=$PASSWORD", `{"text":"the token=","id":12345,"to":"x"}`, "bearer of good news everywhere",
	"the public key: -----BEGIN PUBLIC KEY-----", `{"token":1234567.5e10}`,
	"secret := make([]byte, 32)", "password = user.password", "token = None", "token := r.Header.Get(\"x\")", "password = \"\"", "password = $1",
	"--- PASS: TestFoo2 (0.00s)", "PASS: TestFoo2", "pass: 12/15", "bypass = mode1234", "compass: north123", "author: me1234567", "auth: none",
	"docker run -u 1000:1000 node1", "docker run -u node:node image", "curl -u", "--password-stdin true1234", "--token-file /run/x1", "use --password to log in",
	"the machine has a password field", "Cookie: none", "the cookie: it is", "https://github.com/a/b/hooks/useAuthProvider.tsx", "https://example.org/hook/me",
	"the age-secret-key-1 form", "mysql -u root -p db", "true\tTRUE\t/", `{"session_id":"693a91f6-7bcd-4bc4-97a0-0ec2sifa5aaa"}`,
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

// What a word follows is looked at also where the stream was cut between them.
func TestWordsBehindBorders(t *testing.T) {
	for _, text := range []string{"tool --db-password hunter22 x", "the mybypass = hunter22 x", "https://x/?key=aB3xaB3xaB3xaB3xaB3x", "master_key=hunter22 x"} {
		want := []byte(text + strings.Repeat(" .", longest))
		whole := mask(want, 0, len(want))
		for cut := 1; cut < len(text); cut++ {
			var n int64
			r := &redactor{count: &n}
			all := []byte(text + strings.Repeat(" .", longest))
			got := append(r.next(all[:longest+cut], false), r.next(all[longest+cut:], true)...)
			if n != whole || !bytes.Equal(got, want) {
				t.Errorf("cut at %d: %d masked, want %d: %.60q", cut, n, whole, got)
			}
		}
	}
}

// hostile are the beginnings of secrets that do not come: see BenchmarkMask for how
// long they are looked at.
var hostile = []string{
	"-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "password: ", "password=", `password:"a `, "token:'a", "bearer ", "://a:", "eyJ", "sk-", "sk-ant-a", "secret_", "password\\\\\\\\\\", "xox", "api_key=aaaaaaa.",
	"curl ", "curl \\\\", "curl -u a:", "--password ", "--password\",\"", "machine a login b ", "machine a\\n", "cookie: a=", "hooks/", "://hooks.", "\tTRUE\t/", "sshpass -p", "pass=a.",
}

// Masking keeps the length, and JSON the same JSON but for its strings.
func FuzzMask(f *testing.F) {
	for _, s := range secrets {
		f.Add(s[0])
	}
	f.Add("{\"cookie\":\x84sid=a=ab")
	for _, s := range slices.Concat(harmless, hostile) {
		f.Add(s)
		f.Add(strings.Repeat(s, 20))
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
