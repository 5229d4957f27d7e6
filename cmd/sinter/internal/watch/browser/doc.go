// Package browser tests the page of 'sinter watch' in a real browser: Chromium without a
// window, driven over its DevTools protocol. It is a module of its own, so that what
// drives the browser is no dependency of Sinter.
//
//	cd cmd/sinter/internal/watch/browser && go test .
//
// With SINTER_KEEP naming a folder, the tests leave pictures of what they saw there.
package browser
