// Package apicheck has the test that the manifests of package cluster are what JobSet and
// Kueue understand: they are decoded by the types of their API, strictly, so that a field
// that is misspelt, misplaced or of another kind fails, and what cannot be seen in the types,
// such as how long a name may be, is checked by the functions that the API server uses.
//
// It is a module of its own, so that nothing of Kubernetes is a dependency of Sinter.
package apicheck
