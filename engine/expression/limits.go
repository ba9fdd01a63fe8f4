package expression

import "time"

// Limits of the language. They are part of its reference page.
const (
	// MaxSource is the longest source of one expression, in bytes.
	MaxSource = 4 << 10
	// MaxNodes is the most nodes the syntax tree of one expression may have.
	MaxNodes = 500
	// MaxNesting is how deep filter, map and their like may stand in one another.
	MaxNesting = 2
	// MaxItems is the longest list that can be iterated, ranged over or sorted.
	MaxItems = 10_000
	// MaxResult is the largest value an expression may compute, in bytes of JSON.
	// A plain read such as payload.items may give up to MaxRendered.
	MaxResult = 256 << 10
	// MaxRendered is the largest value a template may render to, in bytes of JSON.
	MaxRendered = 1 << 20
	// MaxTemplateExpressions is the most {{ … }} one template may hold.
	MaxTemplateExpressions = 1_000
	// MaxDepth is how deep JSON values may nest.
	MaxDepth = 64
)

const (
	// maxProblems is how many wrong expressions of one template are told of at once.
	maxProblems = 20
	// maxFuel bounds the work of one evaluation. A unit is about one node of the
	// tree evaluated once, 50 to 150 ns: some 25 to 75 ms in all.
	maxFuel = 500_000
	// maxTemplateFuel bounds the work of all expressions of one template together.
	maxTemplateFuel = 4 * maxFuel
	// maxMemory bounds the bytes of text and lists one evaluation builds.
	maxMemory = 8 << 20
	// maxElements bounds the list elements and map entries the virtual machine builds.
	maxElements = 500_000
	// maxWall is the backstop behind maxFuel. It is far above what the fuel allows
	// for, because stopping on time alone would fail a healthy run on a busy machine.
	maxWall = 10 * time.Second
	// checkEvery is how much fuel is spent between two looks at context and clock.
	checkEvery = 1 << 15

	// loopCost is what starting a loop costs, so that empty loops inside loops,
	// for each of which the machine keeps a scope, stay few.
	loopCost = 50
	// maxPattern is the longest regular expression, maxPatternSize its largest
	// compiled form in instructions.
	maxPattern     = 512
	maxPatternSize = 2_000
)
