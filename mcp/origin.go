package mcp

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// allow lets a page of an origin that is ours call this server, and see its session.
func allow(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
	h.Set("Access-Control-Allow-Headers", strings.Join([]string{
		"Authorization", "Content-Type", "Accept", "Last-Event-ID",
		mcpgo.HeaderSessionID, mcpgo.HeaderProtocolVersion, mcpgo.HeaderMethod, mcpgo.HeaderName,
	}, ", "))
	h.Set("Access-Control-Expose-Headers", mcpgo.HeaderSessionID)
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Vary", "Origin")
}

// known tells whether a Host is ours. The port does not matter: a browser
// cannot be led astray by it.
func (w *web) known(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback() ||
		slices.ContainsFunc(w.Hosts, func(h string) bool { return strings.EqualFold(strings.TrimSuffix(strings.Trim(h, "[]"), "."), name) })
}

func (w *web) knownOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && w.known(u.Host)
}

// authorized compares digests, so that the time tells nothing of the token, not
// even its length.
func (w *web) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(w.Token)), sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && w.Token != "" && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}
