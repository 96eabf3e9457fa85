import { GatewayError } from '../../src/model/errors.js';
import { metricIdOf } from '../../src/model/metric.js';
export const ALL_SCOPES = ['ingest', 'query', 'admin'];
/** A gateway in memory that records what it is asked: routes are tested against it. */
export function createFakeGateway(options = {}) {
    const keys = options.keys ?? new Map([['test-key', { project: 'shop', scopes: ALL_SCOPES }]]);
    const points = [];
    const queries = [];
    const filters = [];
    const before = async (verb) => options.before?.(verb);
    const rowsOf = (project) => (options.metrics ?? []).filter((row) => row.project === project);
    return {
        points,
        queries,
        filters,
        async track(project, decode) {
            await before('track');
            const recorder = createRecordingSink(project, options.resolve);
            decode(recorder.sink);
            points.push(...recorder.points);
            return recorder.errors;
        },
        async query(project, input) {
            await before('query');
            queries.push(input);
            if (options.query === undefined)
                throw new GatewayError('metric_not_found', 'there is no such metric');
            return options.query(project, input);
        },
        async metric(project, name) {
            await before('metric');
            return rowsOf(project).find((row) => row.name === name);
        },
        async metrics(project, filter = {}) {
            await before('metrics');
            filters.push(filter);
            return rowsOf(project);
        },
        async authenticate(key) {
            await before('authenticate');
            return keys.get(key);
        },
        async ping() {
            await before('ping');
        },
        async close() { },
    };
}
export function createRecordingSink(project, refuse = () => undefined) {
    const points = [];
    const errors = [];
    const known = new WeakMap();
    const record = (how, index, ref, timeMs, value, weight) => {
        const series = known.get(ref);
        if (series === undefined)
            throw new Error('a series that this sink did not resolve');
        const { name, type, tags } = series;
        points.push({ project, index, name, type, tags, timeMs, how, value, ...(weight === undefined ? {} : { weight }) });
    };
    const sink = {
        resolve(name, type, pairs) {
            const rejection = refuse(name, type);
            if (rejection !== undefined)
                return rejection;
            const kind = type === 'histogram' ? 'counter' : type === 'summary' ? 'gauge' : type;
            const series = { kind, name, type, tags: pairs.map(([key, value]) => [key, value]) };
            known.set(series, series);
            return series;
        },
        add: (index, series, timeMs, value) => record('add', index, series, timeMs, value),
        addWeighted: (index, series, timeMs, value, weight) => record('addWeighted', index, series, timeMs, value, weight),
        addTotal: (index, series, timeMs, total) => record('addTotal', index, series, timeMs, total),
        addMember: (index, series, timeMs, member) => record('addMember', index, series, timeMs, member),
        reject: (index, { code, message }) => void errors.push({ index, code, message }),
    };
    return { sink, points, errors };
}
/** A catalog row with the fields that a test does not care about filled in. */
export function metricRow(fields = {}) {
    const project = fields.project ?? 'shop';
    const name = fields.name ?? 'api.response_time';
    return {
        project,
        name,
        type: 'distribution',
        unit: undefined,
        description: undefined,
        generation: 1,
        metricId: metricIdOf(project, name, 1),
        partition: 0,
        points: 1_234_567,
        firstSeenMs: Date.UTC(2024, 0, 1),
        lastSeenMs: Date.UTC(2024, 0, 15, 10, 30),
        tagKeys: ['endpoint', 'method', 'status'],
        seriesCount: 1,
        cumulative: false,
        ...fields,
    };
}
/** A group whose buckets are present where its first column is not undefined. */
export function answerGroup(columns, fields = {}) {
    const [first = []] = Object.values(columns);
    return {
        tags: [],
        series: undefined,
        present: Uint8Array.from(first, (value) => (value === undefined ? 0 : 1)),
        values: new Map(Object.entries(columns).map(([name, values]) => [
            name,
            Float64Array.from(values, (value) => value ?? Number.NaN),
        ])),
        totals: new Map(),
        ...fields,
    };
}
/** Hourly buckets from 2024-01-15T00:00:00Z on. */
export function queryAnswer(fields) {
    const hourMs = 3_600_000;
    const fromMs = Date.UTC(2024, 0, 15);
    const buckets = fields.groups[0]?.present.length ?? 0;
    const startMs = Float64Array.from({ length: buckets }, (_, index) => fromMs + index * hourMs);
    return {
        metric: metricRow(),
        fromMs,
        toMs: fromMs + buckets * hourMs,
        interval: '1h',
        timezone: 'UTC',
        fill: 'none',
        aggregations: [{ kind: 'quantile', name: 'p95', q: 0.95 }],
        startMs,
        endMs: startMs.map((ms) => ms + hourMs),
        meta: { resolutionsMs: [hourMs], rollupsRead: 0, blocksRead: 0, cacheHits: 0, durationMs: 0, nowMs: fromMs },
        ...fields,
    };
}
