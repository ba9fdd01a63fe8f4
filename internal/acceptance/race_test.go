//go:build race

package acceptance_test

// raceDetector tells whether the tests are built with it; then the product can be,
// too.
const raceDetector = true
