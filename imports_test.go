package flows_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// module is this module's path.
const module = "github.com/10ex/flows"

// folder is one row of the table of imports: what a folder, and all below it
// that has no row of its own, may import of this module.
type folder struct {
	name string
	// ours lists folders; what is below them is meant too. Its own folder is
	// always allowed.
	ours []string
	why  string
}

// leaves are the small packages that anybody above models and tasks may use; of
// those below internal, the ones for tests and programs have rows of their own.
var leaves = []string{"internal"}

// layout is the table of imports of docs/architecture.md. A folder that is not
// in it must be added, with what it may import and why.
var layout = []folder{
	{"cmd", []string{"."}, "cmd wires the parts, so it alone sees everything"},
	{"api", join(leaves, "agents", "bus", "connections", "connectors", "engine", "models", "store", "templates", "web"),
		"the API asks the engine and reads the store; it neither delivers tasks nor runs steps"},
	{"api/mcp", []string{"api"}, "MCP is a second door to the same operations and has no logic of its own"},
	{"models", nil, "models is the language all others share, so it can know none of them"},
	{"engine", join(leaves, "models", "store", "tasks"), "the engine decides; it must not know who asks or who works"},
	{"bus", join(leaves, "engine", "models", "store", "tasks"), "the bus finds who listens and asks the engine; it must not know who asks or who works"},
	{"connections", join(leaves, "connectors", "models", "store"),
		"connections are kept for whoever acts; they must not know what is done with them"},
	{"engine/expression", []string{"models"}, "expressions are pure: no clock, no store, no effect"},
	{"store", join(leaves, "migrations", "models"), "the store keeps facts and decides nothing"},
	{"tasks", nil, "tasks is the contract between those who enqueue and those who work; either may import it only if it imports neither"},
	{"worker", join(leaves, "agents", "bus", "connectors", "engine", "models", "tasks"),
		"a worker learns and records facts only through the engine, never from the store beside it"},
	{"scheduler", join(leaves, "bus", "engine", "models", "store", "tasks"), "the scheduler finds what is due and lets the engine move it"},
	{"connectors", leaves, "a connector knows the outside and nothing of runs"},
	{"agents", join(leaves, "connectors", "models"), "an agent's tools are connector actions, and its journal is told in the words of models; it knows nothing of how runs move"},
	{"agents/llm", join(leaves, "connectors"), "a vendor of models is asked over a connection; it knows nothing of agents"},
	{"connectors/registered", join(leaves, "connectors", "models", "store"), "it keeps what workspaces register, which takes a database"},
	{"migrations", nil, "a migration is history: code that changes must not change it"},
	{"templates", []string{"engine/expression", "models"}, "templates are data in the words of models; what stands between {{ and }} is for expressions to read"},
	{"web", nil, "the console speaks to the API over HTTP only"},
	{"docs", nil, "documents hold examples, run by tests"},
	{"examples", nil, "an example stands for somebody else's program"},
	{"internal", join(leaves, "models"), "leaves are small: they know each other and the words of models"},
	{"internal/bench", []string{"."}, "the benchmark starts the whole product"},
	{"internal/testkit", nil, "helpers of tests that every package uses can import none of them"},
}

// library is a ban on a package from outside: only the folders named may import
// it. In tests it is free unless everywhere is set.
type library struct {
	path       string // a "$" at the end: without the packages below it
	only       []string
	everywhere bool
	why        string
}

var libraries = []library{
	{"github.com/gofiber/fiber", []string{"api", "cmd"}, false, "Fiber stays in api: its values are reused after a handler returns, so no other part may hold one"},
	{"github.com/valyala/fasthttp", []string{"api", "cmd", "internal/bench"}, false, "fasthttp is Fiber's engine and stays with it; outbound calls go through internal/egress, but for those of benchmarks to ourselves"},
	{"github.com/danielgtaylor/huma", []string{"api"}, false, "the HTTP description of operations is the API's own matter"},
	{"github.com/uptrace/bun", []string{"store", "models", "migrations"}, false, "every query stays in store, where the workspace is part of it and both databases are tested"},
	{"github.com/jackc/pgx", []string{"store", "migrations", "internal/testkit", "internal/bench"}, false, "driver errors become ours in store"},
	{"modernc.org/sqlite", []string{"store", "migrations"}, false, "driver errors become ours in store"},
	{"github.com/hibiken/asynq", []string{"tasks", "worker", "cmd", "internal/bench"}, false, "asynq only delivers; who decides must not depend on it"},
	{"github.com/hibiken/asynqmon", []string{"cmd"}, false, "the queue's pages are wired in cmd and mounted by the API as a plain http.Handler"},
	{"github.com/alicebob/miniredis", []string{"cmd", "internal/broker", "internal/testkit"}, false, "the in-process Redis is a way to start the product, known to nobody else"},
	{"github.com/modelcontextprotocol/go-sdk", []string{"api/mcp", "connectors/mcp"}, false, "what MCP says is translated at its door, so that no operation knows who speaks it"},
	{"github.com/alecthomas/kong", []string{"cmd"}, false, "flags and environment are read in cmd alone"},
	{"go.opentelemetry.io", []string{"internal/trace"}, false, "what a span may say is decided in internal/trace, and using it costs nothing where it is off"},
	{"github.com/expr-lang/expr", []string{"engine/expression"}, false, "expressions run only behind our guards, which bound their size, time and memory"},
	{"log$", nil, false, "logs go through an injected slog.Logger"},
	{"github.com/stretchr/testify", []string{}, false, "test libraries have no place outside tests"},
	{"github.com/stretchr/testify/assert", nil, true, "tests use require: the first broken expectation ends the test"},
	{"github.com/stretchr/testify/mock", nil, true, "tests use the real thing or a small fake"},
	{"github.com/stretchr/testify/suite", nil, true, "tests are functions with a setup"},
}

// call is a ban on functions of a package: only the folders named may use them.
type call struct {
	path  string
	names []string
	only  []string
	// tests tells which files are meant: those of tests, or all others.
	tests bool
	why   string
}

var calls = []call{
	{"os", []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, []string{"cmd", "internal/testkit", "internal/bench"}, false,
		"the environment is read in cmd alone, so that every setting is documented and checked in one place"},
	{"time", []string{"Sleep"}, nil, true,
		"a test that sleeps is slow on a fast machine and flaky on a slow one; use a fake clock, RunOnce or a signal"},
	{"testing", []string{"Skip", "Skipf", "SkipNow"}, nil, true,
		"a skipped test passes for one that ran; leave the case out of the table instead"},
}

func join(lists []string, more ...string) []string {
	all := slices.Concat(lists, more)
	slices.Sort(all)
	return all
}

// within tells whether dir is the folder or below it; "." holds everything.
func within(dir, folder string) bool {
	return folder == "." || dir == folder || strings.HasPrefix(dir, folder+"/")
}

func withinAny(dir string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return within(dir, f) })
}

// rowOf returns the row of the table that is nearest to dir.
func rowOf(dir string) (folder, bool) {
	var best folder
	found := false
	for _, row := range layout {
		if within(dir, row.name) && len(row.name) >= len(best.name) {
			best, found = row, true
		}
	}
	return best, found
}

// forTests tells whether a package exists for tests only. What it imports is
// judged like a test's imports, and only tests may import it.
func forTests(dir string) bool {
	return within(dir, "internal/testkit") || strings.HasSuffix(path.Base(dir), "test")
}

// fault is one thing wrong with a file.
type fault struct{ file, what, why string }

// judge returns what is wrong with a file.
func judge(f sourceFile) []fault {
	var wrong []fault
	blame := func(what, why string) { wrong = append(wrong, fault{f.path, what, why}) }

	row, ok := rowOf(f.dir())
	if !ok && f.dir() != "." {
		blame("the folder has no row in the table of imports", "add it to layout in imports_test.go and to docs/architecture.md")
	}
	test := f.isTest() || forTests(f.dir())
	for _, imported := range f.imports {
		ours, isOurs := strings.CutPrefix(imported+"/", module+"/")
		ours = strings.TrimSuffix(ours, "/")
		switch {
		case isOurs && test: // a test may use what its package may not
		case isOurs && forTests(ours):
			blame("imports "+ours, "it is for tests only")
		case isOurs && !within(ours, row.name) && !withinAny(ours, row.ours):
			blame(row.name+" must not import "+ours, row.why)
		}
		if lib, ok := libraryOf(imported); ok && !isOurs && (lib.everywhere || !test) && !withinAny(f.dir(), lib.only) {
			blame("must not import "+imported, lib.why)
		}
	}
	for _, c := range calls {
		for _, name := range c.names {
			if c.tests == f.isTest() && !withinAny(f.dir(), c.only) && slices.Contains(f.calls, c.path+"."+name) {
				blame("must not call "+c.path+"."+name, c.why)
			}
		}
	}
	return wrong
}

// libraryOf returns the narrowest ban that names the package.
func libraryOf(imported string) (library, bool) {
	var best library
	found := false
	for _, lib := range libraries {
		exact, isExact := strings.CutSuffix(lib.path, "$")
		if (imported == exact || !isExact && within(imported, lib.path)) && len(lib.path) >= len(best.path) {
			best, found = lib, true
		}
	}
	return best, found
}

func TestImportsFollowTheTable(t *testing.T) {
	t.Parallel()
	for _, f := range sourceFiles(t) {
		for _, w := range judge(f) {
			t.Errorf("%s: %s: %s", w.file, w.what, w.why)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range sourceFiles(t) {
		if !f.isTest() {
			documented[f.dir()] = documented[f.dir()] || f.hasDoc
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment that says what it is for, what it must not know and what it may import", dir)
		}
	}
}

func TestTableOfImportsIsSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, row := range layout {
		require.Falsef(t, seen[row.name], "%s has two rows", row.name)
		seen[row.name] = true
		require.NotEmptyf(t, row.why, "the row of %s gives no reason", row.name)
	}
	for _, lib := range libraries {
		require.NotEmptyf(t, lib.why, "the ban on %s gives no reason", lib.path)
	}
}

// The rules themselves are tested on made-up files, so that a rule which lets
// everything through is noticed.
func TestJudge(t *testing.T) {
	t.Parallel()
	ours := func(folders ...string) []string {
		paths := make([]string, len(folders))
		for i, f := range folders {
			paths[i] = module + "/" + f
		}
		return paths
	}
	for name, tc := range map[string]struct {
		file sourceFile
		want []string
	}{
		"allowed folder":                 {file: sourceFile{path: "engine/engine.go", imports: ours("store", "models", "internal/clock")}},
		"own subfolder":                  {file: sourceFile{path: "engine/expr.go", imports: ours("engine/expression")}},
		"cmd sees all":                   {file: sourceFile{path: "cmd/flows/app.go", imports: append(ours("api", "worker", "internal/broker"), "github.com/hibiken/asynq", "github.com/gofiber/fiber/v2")}},
		"test may look anywhere":         {file: sourceFile{path: "worker/step_test.go", imports: append(ours("store", "internal/testkit"), "github.com/stretchr/testify/require")}},
		"connector uses its folder":      {file: sourceFile{path: "connectors/http/http.go", imports: ours("connectors", "internal/egress")}},
		"environment in cmd":             {file: sourceFile{path: "cmd/flows/config.go", calls: []string{"os.Getenv"}}},
		"sleep outside tests":            {file: sourceFile{path: "worker/lease.go", calls: []string{"time.Sleep"}}},
		"package for tests uses require": {file: sourceFile{path: "connectors/connectorstest/run.go", imports: []string{"github.com/stretchr/testify/require"}}},
		"similar name is another package": {
			file: sourceFile{path: "engine/engine.go", imports: []string{"github.com/hibiken/asynqx", "log/slog", "github.com/10ex/flowsx"}},
		},

		"upward":         {sourceFile{path: "store/run.go", imports: ours("engine")}, []string{"store must not import engine"}},
		"models imports": {sourceFile{path: "models/run.go", imports: ours("internal/ids")}, []string{"models must not import internal/ids"}},
		"subfolder with a row of its own": {
			sourceFile{path: "engine/expression/eval.go", imports: ours("engine", "store", "models")},
			[]string{"engine/expression must not import engine", "engine/expression must not import store"},
		},
		"the root":         {sourceFile{path: "web/embed.go", imports: []string{module}}, []string{"web must not import "}},
		"testkit in code":  {sourceFile{path: "cmd/flows/app.go", imports: ours("internal/testkit")}, []string{"imports internal/testkit"}},
		"unknown folder":   {sourceFile{path: "common/strings.go"}, []string{"the folder has no row in the table of imports"}},
		"fiber":            {sourceFile{path: "worker/step.go", imports: []string{"github.com/gofiber/fiber/v2/utils"}}, []string{"must not import github.com/gofiber/fiber/v2/utils"}},
		"bun":              {sourceFile{path: "engine/engine.go", imports: []string{"github.com/uptrace/bun"}}, []string{"must not import github.com/uptrace/bun"}},
		"asynq":            {sourceFile{path: "api/routes.go", imports: []string{"github.com/hibiken/asynq"}}, []string{"must not import github.com/hibiken/asynq"}},
		"standard log":     {sourceFile{path: "worker/step.go", imports: []string{"log"}}, []string{"must not import log"}},
		"assert in a test": {sourceFile{path: "worker/step_test.go", imports: []string{"github.com/stretchr/testify/assert"}}, []string{"must not import github.com/stretchr/testify/assert"}},
		"require in code":  {sourceFile{path: "worker/step.go", imports: []string{"github.com/stretchr/testify/require"}}, []string{"must not import github.com/stretchr/testify/require"}},
		"environment":      {sourceFile{path: "store/open.go", calls: []string{"os.Getenv"}}, []string{"must not call os.Getenv"}},
		"sleep in a test":  {sourceFile{path: "worker/step_test.go", calls: []string{"time.Sleep"}}, []string{"must not call time.Sleep"}},
		"skipped test":     {sourceFile{path: "worker/step_test.go", calls: []string{"testing.Skip"}}, []string{"must not call testing.Skip"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, w := range judge(tc.file) {
				require.Equal(t, tc.file.path, w.file)
				require.NotEmpty(t, w.why)
				got = append(got, w.what)
			}
			require.Empty(t, cmp.Diff(tc.want, got))
		})
	}
}
