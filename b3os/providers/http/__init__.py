"""Provider http: requests to any public server."""

from b3os.actions.spec import Provider
from b3os.providers.http.request import REQUEST

HTTP = Provider(name="http", title="HTTP", actions=(REQUEST,))
