package services

import (
	"os"
	"path/filepath"
	"time"
)

// folderPrefix begins the names of private folders.
const folderPrefix = "flows-services-"

// removeAbandoned removes the private folders of processes that were killed. A
// folder in use is locked; one that was made a moment ago may not be yet.
func removeAbandoned(base string) {
	folders, _ := filepath.Glob(filepath.Join(base, folderPrefix+"*")) // the pattern is a constant: no error
	for _, dir := range folders {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if unlock, ok := tryLockFolder(dir); ok {
			os.RemoveAll(dir) // another user's stays, which is right
			unlock()
		}
	}
}

// lockFolder marks a folder as in use for as long as this process lives.
func lockFolder(dir string) func() {
	unlock, ok := tryLockFolder(dir)
	if !ok {
		return func() {} // it can at worst be removed by others
	}
	return unlock
}
