import { Writable } from 'node:stream';
import { pino } from 'pino';
import { createServer, DEFAULT_SERVER_LIMITS } from '../../src/http/server.js';
import { createFakeGateway } from './fake-gateway.js';
export const NOW_MS = Date.UTC(2024, 0, 15, 12);
/** The HTTP server over a gateway in memory; nothing listens. */
export function createFakeServer(options = {}, limits = {}) {
    let logged = '';
    const destination = new Writable({
        write(chunk, _encoding, done) {
            logged += String(chunk);
            done();
        },
    });
    const gateway = createFakeGateway(options);
    const app = createServer({
        gateway,
        log: pino({ level: 'trace' }, destination),
        now: () => NOW_MS,
        limits: { ...DEFAULT_SERVER_LIMITS, ...limits },
    });
    const authorized = { authorization: 'Bearer test-key' };
    return {
        app,
        gateway,
        logged: () => logged,
        get: (url, headers = {}) => app.inject({ method: 'GET', url, headers: { ...authorized, ...headers } }),
        post: (url, body, headers = {}) => {
            const payload = typeof body === 'string' || body instanceof Buffer ? body : JSON.stringify(body);
            const request = { method: 'POST', url, payload };
            return app.inject({ ...request, headers: { ...authorized, 'content-type': 'application/json', ...headers } });
        },
    };
}
export function errorOf(response) {
    return response.json().error;
}
