// What a test asks of a server besides its protocol: which requests came, and faults that the next ones get.

export async function readJson(chunks) {
  let text = '';
  for (;;) {
    const { value, done } = await chunks.next();
    if (done) return JSON.parse(text);
    text += value;
    if (text.endsWith('\n')) return JSON.parse(text);
  }
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function answer(response, status, value, headers = {}) {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body);
}

export class Rig {
  constructor() {
    this.requests = [];
    this.faults = [];
    this.controls = new Map();
    this.pages = new Map();
    this.control('/rig/requests', async ({ forget }) => {
      const seen = this.requests;
      if (forget) this.requests = [];
      return seen;
    });
    // {path, status, headers, body | repeat, times, delay_ms, drop}: what the next `times` requests for `path` get.
    this.control('/rig/faults', async (faults) => { this.faults = faults; return {}; });
  }

  control(path, handler) { this.controls.set(path, handler); }

  page(path, handler) { this.pages.set(path, handler); }

  fault(path) {
    const found = this.faults.find((fault) => fault.path === path && (fault.times ?? 1) > 0);
    if (found !== undefined) found.times = (found.times ?? 1) - 1;
    return found;
  }

  around(next) {
    return async (request, response) => {
      const path = request.url.split('?')[0];
      const control = this.controls.get(path);
      if (control !== undefined) {
        const body = await bodyOf(request);
        return answer(response, 200, await control(body.length ? JSON.parse(body) : {}));
      }
      if (this.pages.has(path)) return answer(response, 200, this.pages.get(path)());
      const body = await bodyOf(request);
      this.requests.push({
        method: request.method, path, url: request.url, headers: request.headers, body: body.toString('latin1'),
        certificate: request.socket.getPeerX509Certificate()?.fingerprint256 ?? null,
      });
      const fault = this.fault(path);
      if (fault !== undefined) return Rig.suffer(fault, request, response);
      request.body = body;  // it has been read: oidc-provider then takes this
      return next(request, response);
    };
  }

  static async suffer(fault, request, response) {
    if (fault.delay_ms) await new Promise((resolve) => { setTimeout(resolve, fault.delay_ms); });
    if (fault.drop) return request.socket.destroy();
    response.writeHead(fault.status ?? 200, { 'content-type': 'application/json', ...fault.headers });
    return response.end(fault.repeat ? Buffer.alloc(fault.repeat, 'x') : fault.body ?? '');
  }
}
