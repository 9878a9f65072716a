// Package e2e holds the tests that run the built cctask as a user does, on the
// real CLI against the scripted API, and end its processes at bad moments. It
// has no code of its own, and nothing imports it.
package e2e
