package migrations_test

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/migrations"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// database is a real one with the whole schema, and ways to look at it.
type database struct {
	db     *sql.DB
	tables string // name
	// columns gives table, column, type, whether it must be there, and its place in
	// the primary key or 0.
	columns string
	indexes string // table, index, its columns; none of constraints
	checks  string // table, the text that holds its checks
}

var inPostgres = database{
	tables: `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`,
	columns: `
		SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'NO', coalesce(array_position(k.conkey, a.attnum), 0)
		FROM information_schema.columns AS c
		JOIN pg_attribute AS a ON a.attrelid = c.table_name::regclass AND a.attname = c.column_name
		LEFT JOIN pg_constraint AS k ON k.conrelid = a.attrelid AND k.contype = 'p'
		WHERE c.table_schema = current_schema() ORDER BY c.table_name, c.ordinal_position`,
	indexes: `
		SELECT t.relname, i.relname, string_agg(a.attname, ',' ORDER BY array_position(x.indkey::int[], a.attnum::int))
		FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
		JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = ANY (x.indkey)
		WHERE t.relnamespace = current_schema()::regnamespace AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = x.indexrelid)
		GROUP BY t.relname, i.relname ORDER BY t.relname, i.relname`,
	checks: `
		SELECT c.conrelid::regclass::text, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
		WHERE c.contype = 'c' AND c.connamespace = current_schema()::regnamespace`,
}

var inSQLite = database{
	tables: `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`,
	columns: `
		SELECT t.name, c.name, lower(c.type), c."notnull", c.pk FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid`,
	indexes: `
		SELECT t.name, i.name, (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
		FROM sqlite_master AS t JOIN pragma_index_list(t.name) AS i WHERE t.type = 'table' AND i.origin = 'c' ORDER BY t.name, i.name`,
	checks: `SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE '%CHECK%'`,
}

// open makes an empty database of each kind and gives its URL and a look at it.
func each(t *testing.T, test func(t *testing.T, url string, d database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "flows.db")
		test(t, "sqlite:"+path, look(t, inSQLite, "sqlite", path))
	})
	if testkit.HavePostgres() {
		t.Run("postgres", func(t *testing.T) {
			t.Parallel()
			url := testkit.PostgresURL(t)
			test(t, url, look(t, inPostgres, "pgx", url))
		})
	}
}

func look(t *testing.T, d database, driver, source string) database {
	t.Helper()
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	d.db = db
	return d
}

func openStore(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// read gives the rows of a statement as text.
func read(t *testing.T, db *sql.DB, statement string) [][]string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), statement)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	names, err := rows.Columns()
	require.NoError(t, err)
	var all [][]string
	for rows.Next() {
		row, dest := make([]string, len(names)), make([]any, len(names))
		for i := range row {
			dest[i] = &row[i]
		}
		require.NoError(t, rows.Scan(dest...))
		all = append(all, row)
	}
	require.NoError(t, rows.Err())
	return all
}

// words says the same of both databases in the same word.
var words = strings.NewReplacer(
	"timestamp with time zone", "time", "timestamp", "time", "bytea", "bytes", "blob", "bytes", "bigint", "integer", "jsonb", "json", "json_text", "json",
	"true", "1", "false", "0",
)

// schema is everything of a database that both must have.
type schema struct {
	Columns map[string][]string // by table, in their order
	Indexes map[string]string   // by "table index"
}

// ours tells whether a table is one of the product and not of the tool that
// applies migrations.
func ours(table string) bool { return !strings.HasPrefix(table, "bun_") }

func schemaOf(t *testing.T, d database) schema {
	t.Helper()
	s := schema{Columns: map[string][]string{}, Indexes: map[string]string{}}
	for _, c := range read(t, d.db, d.columns) {
		if ours(c[0]) {
			s.Columns[c[0]] = append(s.Columns[c[0]], words.Replace(strings.Join(c[1:], " ")))
		}
	}
	for _, i := range read(t, d.db, d.indexes) {
		if ours(i[0]) {
			s.Indexes[i[0]+" "+i[1]] = i[2]
		}
	}
	return s
}

func TestBothDatabasesHaveTheSameSchema(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var schemas []schema
	t.Run("each", func(t *testing.T) {
		each(t, func(t *testing.T, url string, d database) {
			_, err := openStore(t, url).Migrate(context.Background())
			require.NoError(t, err)
			got := schemaOf(t, d)
			require.NotEmpty(t, got.Columns)
			require.NotEmpty(t, got.Indexes)
			mu.Lock()
			defer mu.Unlock()
			schemas = append(schemas, got)
		})
	})
	for _, s := range schemas {
		delete(s.Indexes, "runs runs_by_metadata") // SQLite has none of its kind
		require.Empty(t, cmp.Diff(schemas[0], s))
	}
}

func TestMigrationsHaveTheSameNames(t *testing.T) {
	t.Parallel()
	names := func(files fs.FS) []string {
		list, err := fs.Glob(files, "*")
		require.NoError(t, err)
		require.NotEmpty(t, list)
		for _, name := range list {
			require.Regexp(t, `^\d{14}_[a-z_]+\.tx\.up\.sql$`, name, "a migration is one transaction, and never goes back")
		}
		return list
	}
	require.Equal(t, names(migrations.Postgres()), names(migrations.SQLite()))
}

// Columns the product does not know are passed over when rows are read, so that
// an older binary can live with a newer schema. Here none may be missing.
func TestModelsHaveTheColumnsOfTheirTables(t *testing.T) {
	t.Parallel()
	rows := []any{
		models.Workspace{}, models.APIKey{}, models.Workflow{}, models.Version{}, models.Agent{}, models.AgentTurn{},
		models.Budget{}, models.BudgetDay{}, models.BudgetHold{}, models.Run{}, models.Step{},
		models.StepAttempt{}, models.RunLog{}, models.Wait{}, models.IdempotencyKey{},
		models.Event{}, models.Match{}, models.Trigger{}, models.TriggerKey{}, models.Tick{},
		models.Delivery{}, models.DeliveryAttempt{}, models.Template{}, models.Connection{}, models.Connector{},
	}
	each(t, func(t *testing.T, url string, d database) {
		_, err := openStore(t, url).Migrate(context.Background())
		require.NoError(t, err)
		inSchema, inModels := map[string][]string{}, map[string][]string{}
		for _, c := range read(t, d.db, d.columns) {
			if ours(c[0]) {
				inSchema[c[0]] = append(inSchema[c[0]], c[1])
			}
		}
		for _, row := range rows {
			var table string
			for _, field := range reflect.VisibleFields(reflect.TypeOf(row)) {
				tag, options, _ := strings.Cut(field.Tag.Get("bun"), ",")
				if options == "scanonly" {
					continue // read with the row from elsewhere
				}
				if name, ok := strings.CutPrefix(tag, "table:"); ok {
					table = name
				} else if tag != "" && tag != "-" {
					inModels[table] = append(inModels[table], tag)
				}
			}
		}
		for _, columns := range []map[string][]string{inSchema, inModels} {
			for _, names := range columns {
				slices.Sort(names)
			}
		}
		require.Empty(t, cmp.Diff(inModels, inSchema))
	})
}

func TestChecksHoldTheStatesOfModels(t *testing.T) {
	t.Parallel()
	filter := func(all []models.RunStatus, keep func(models.RunStatus) bool) (some []models.RunStatus) {
		for _, s := range all {
			if keep(s) {
				some = append(some, s)
			}
		}
		return some
	}
	lists := map[string][][]string{
		"workflows": {texts(models.WorkflowStatuses)},
		"runs":      {texts(models.RunStatuses), texts(models.TriggerTypes), texts(filter(models.RunStatuses, models.RunStatus.Ended)), texts(models.Holds)},
		"steps": {
			texts(models.StepStatuses),
			texts([]models.StepType{models.StepTypeAgent, models.StepTypeConnector, models.StepTypeBranch, models.StepTypeWait}),
			texts([]models.StepStatus{models.StepQueued, models.StepRunning, models.StepWaiting}), // may need attention
		},
		"step_attempts":  {texts([]models.StepStatus{models.StepFailed, models.StepCancelled})},
		"event_matches":  {texts(models.MatchOutcomes)},
		"schedule_ticks": {texts(models.TickOutcomes)},
		"triggers": {
			texts(models.TriggerKinds), texts(models.TargetTypes),
			append([]string{""}, texts(models.MissedPolicies)...), append([]string{""}, texts(models.VerifyKinds)...),
		},
		"deliveries":   {texts(models.DeliveryStatuses), texts([]models.DeliveryStatus{models.DeliveryPending, models.DeliverySending})},
		"templates":    {texts(models.TemplateStatuses)},
		"connectors":   {texts(models.ConnectorKinds)},
		"agent_turns":  {texts(models.AgentTurnStatuses)},
		"budgets":      {texts([]models.BudgetScope{models.BudgetWorkspace, models.BudgetWorkflow})},
		"budget_days":  {texts(models.BudgetScopes)},
		"budget_holds": {texts(models.BudgetScopes)},
		"connections":  {texts(models.ConnectionStatuses)},
	}
	for _, list := range lists {
		slices.SortFunc(list, slices.Compare)
	}
	inList := regexp.MustCompile(`(?s)(?:IN \(|ARRAY\[)(.*?)[)\]]`)
	quoted := regexp.MustCompile(`'([a-z0-9]*)'`)
	each(t, func(t *testing.T, url string, d database) {
		_, err := openStore(t, url).Migrate(context.Background())
		require.NoError(t, err)
		got := map[string][][]string{}
		for _, check := range read(t, d.db, d.checks) {
			for _, in := range inList.FindAllStringSubmatch(check[1], -1) {
				var states []string
				for _, m := range quoted.FindAllStringSubmatch(in[1], -1) {
					states = append(states, m[1])
				}
				got[check[0]] = append(got[check[0]], states)
			}
		}
		for _, list := range got {
			slices.SortFunc(list, slices.Compare)
		}
		require.Empty(t, cmp.Diff(lists, got))
	})
}

func texts[T ~string](values []T) []string {
	var out []string
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

func TestMigratingTwiceDoesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, d database) {
		ctx := context.Background()
		s := openStore(t, url)
		done, err := s.Migrate(ctx)
		require.NoError(t, err)
		require.NotEmpty(t, done)
		before := schemaOf(t, d)
		again, err := s.Migrate(ctx)
		require.NoError(t, err)
		require.Empty(t, again)
		require.Empty(t, cmp.Diff(before, schemaOf(t, d)))
		all, err := s.Migrations(ctx)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(done, all))
		require.NoError(t, s.CheckSchema(ctx))
	})
}

func TestManyMigrateAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, d database) {
		const processes = 4
		var group sync.WaitGroup
		start, applied, errs := make(chan struct{}), make(chan int, processes), make(chan error, processes)
		s := openStore(t, url)
		for range processes {
			if !s.Embedded() { // an embedded database has one process
				s = openStore(t, url)
			}
			s := s
			group.Go(func() {
				<-start
				done, err := s.Migrate(context.Background())
				applied <- len(done)
				errs <- err
			})
		}
		close(start)
		group.Wait()
		worked := 0
		for range processes {
			require.NoError(t, <-errs)
			if <-applied > 0 {
				worked++
			}
		}
		require.Equal(t, 1, worked)
		require.NoError(t, s.CheckSchema(context.Background()))
	})
}

func TestAnEmptyDatabaseHasAnOldSchemaAndIsLeftEmpty(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, d database) {
		ctx := context.Background()
		s := openStore(t, url)
		require.ErrorIs(t, s.CheckSchema(ctx), store.ErrOldSchema)
		require.Empty(t, read(t, d.db, d.tables))
		pending, err := s.Migrations(ctx)
		require.NoError(t, err)
		require.NotEmpty(t, pending)
		for _, m := range pending {
			require.False(t, m.Applied)
		}
		require.ErrorIs(t, s.CheckSchema(ctx), store.ErrOldSchema)
	})
}
